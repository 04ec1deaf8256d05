//! `jetbak stop`

use serde_json::{Value, json};

use super::args::{Global, StopArgs};
use super::{signal_token, state_directory};
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::protocol::stop::{self, Answered, Stopped, Target};
use crate::session::StopAnswer;
use crate::session::directory::Which;
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &StopArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let target = match (&args.storage, &args.session) {
        (Some(storage), _) => Target::One(Which::Storage(storage.clone())),
        (None, Some(id)) => Target::One(Which::Id(id.clone())),
        (None, None) if args.all => Target::All,
        (None, None) => Target::TheOne,
    };
    let Stopped { answers, sessions, damaged } =
        stop::stop(&state_directory(global)?, &target, args.reason.as_deref())?;
    if ui.is_json() {
        let of = |wanted| -> Vec<Value> { answers.iter().filter(|one| one.answer == wanted).map(object).collect() };
        ui.json(objects::object(json!({
            "type": "stop",
            "stopped": of(StopAnswer::Stopped),
            "already": of(StopAnswer::Already),
            "too_late": of(StopAnswer::TooLate),
        })));
    } else {
        say(&answers, !damaged.is_empty(), ui);
    }
    if let Some(patience) = args.wait {
        stop::wait(&sessions, patience, &signal_token()?)?;
    }
    let mut exit_code = ExitCode::Done;
    for one in damaged {
        exit_code = ExitCode::Failed;
        ui.error(&one.error.into());
    }
    Ok(exit_code)
}

fn say(answers: &[Answered], damaged: bool, ui: &mut Ui) {
    if answers.is_empty() && !damaged {
        ui.say("nothing to stop");
    }
    for Answered { storage, answer, .. } in answers {
        let storage = printable(storage);
        ui.say(&match answer {
            StopAnswer::Stopped => format!("stopped the backup of {storage}"),
            StopAnswer::Already => format!("the backup of {storage} was stopped before"),
            StopAnswer::TooLate | StopAnswer::Over => {
                format!("too late: the backup of {storage} is published or about to be; it was not changed")
            }
        });
    }
}

fn object(answered: &Answered) -> Value {
    let mut fields = objects::object(json!({"session": answered.session}));
    paths::insert(&mut fields, "storage", &answered.storage);
    Value::Object(fields)
}
