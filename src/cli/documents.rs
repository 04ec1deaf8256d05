//! `jetbak completions` and `jetbak man`: made from the definition of the command line.

use std::path::Path;

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs, ManArgs};
use crate::durable::{self, Put};
use crate::error::{Error, ExitCode};

pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "jetbak", &mut text);
    print(&text)
}

pub fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let pages = pages()?;
    match &args.directory {
        None => pages.first().map_or(Ok(ExitCode::Done), |(_, page)| print(page)),
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, &e))?;
            let by_hand = BY_HAND.iter().map(|(name, page)| ((*name).to_owned(), page.as_bytes().to_vec()));
            for (name, page) in pages.into_iter().chain(by_hand) {
                durable::write(&folder.join(name), &page, Put::Replace)?;
            }
            Ok(ExitCode::Done)
        }
    }
}

/// The pages that are not made from the command line's definition.
const BY_HAND: [(&str, &str); 2] = [
    ("jetbak-json.5", include_str!("../../man/jetbak-json.5")),
    ("jetbak-repository.5", include_str!("../../man/jetbak-repository.5")),
];

/// Every page of section 1 with its file name; the first one is jetbak(1).
fn pages() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    let subcommands: Vec<_> = root.get_subcommands().cloned().collect();
    for command in std::iter::once(root).chain(subcommands) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(|e| Error::io("write", Path::new(&name), &e))?;
        pages.push((format!("{name}.1"), page));
    }
    Ok(pages)
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    let written = crate::ui::write_stdout(String::from_utf8_lossy(text).trim_end_matches('\n'));
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to", Path::new("stdout"), &error).into())
        }
        _ => Ok(ExitCode::Done),
    }
}
