//! `jetbak pin`, `jetbak unpin`

use super::args::{PinArgs, UnpinArgs};
use super::signal_token;
use super::tag::tell;
use crate::error::{ExitCode, printable};
use crate::repository::Repository;
use crate::ui::Ui;

pub fn pin(args: &PinArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let (backup, labels) = repository.relabel(&args.id, &signal_token()?, |labels| {
        // Who pins it again without a word leaves what was said before, unless nobody could read that.
        let was = labels.reason.take().filter(|_| labels.pinned && !labels.damaged);
        (labels.pinned, labels.reason) = (true, args.reason.clone().or(was));
    })?;
    let why = labels.reason.as_ref().map(|reason| format!(" ({})", printable(reason))).unwrap_or_default();
    tell(&repository, &backup, &labels, &format!("pinned{why}; no prune removes it, or what it builds on"), ui);
    Ok(ExitCode::Done)
}

pub fn unpin(args: &UnpinArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let (backup, labels) = repository.relabel(&args.id, &signal_token()?, |labels| {
        (labels.pinned, labels.reason) = (false, None);
    })?;
    tell(&repository, &backup, &labels, "not pinned", ui);
    Ok(ExitCode::Done)
}
