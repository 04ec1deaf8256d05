//! How much disk a restore in place needs on its way: what is written stands beside what it replaces for a while.

use super::plan::{Plan, Step, Way};

/// Bytes that are needed at the worst moment, beyond what is taken before. `deletes_first`: what the backup does not hold
/// goes before anything is written, and not after it.
pub fn peak(plan: &Plan, deletes_first: bool) -> u64 {
    let early = if deletes_first { plan.deletions.len() } else { plan.first_deletions };
    let mut taken = -plan.deletions.iter().take(early).map(|step| i128::from(step.space.freed)).sum::<i128>();
    let mut peak = 0;
    for step in &plan.steps {
        let (at_worst, after) = change(step);
        peak = peak.max(taken + at_worst);
        taken += after;
    }
    u64::try_from(peak).unwrap_or(u64::MAX)
}

/// How much more is taken while a step is at work, and once it is done.
fn change(step: &Step) -> (i128, i128) {
    let space = step.space;
    let (wanted, there, freed) = (i128::from(space.wanted), i128::from(space.there), i128::from(space.freed));
    match step.way {
        // A directory has to go before a file can have its name.
        _ if step.instead.is_some_and(rustix::fs::FileType::is_dir) => (wanted - freed, wanted - freed),
        Way::Anew => (wanted, wanted - freed),
        Way::InPlace => {
            let written = step.content.as_ref().map_or(0, |content| i128::from(content.bytes));
            let at_worst = if space.sparse { written.min(wanted) } else { wanted - there };
            (at_worst.max(0), wanted - there)
        }
        Way::Directory | Way::Link | Way::HardLink(_) => (0, -freed),
        Way::Attributes | Way::Delete => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustix::fs::FileType;

    use super::super::plan::{Content, Space};
    use super::*;

    fn step(way: Way, wanted: u64, there: u64, freed: u64) -> Step {
        let step = Step::new(0, PathBuf::from("x"), FileType::RegularFile, way, None, Vec::new());
        let step = step.with(Content { bytes: wanted / 2, ..Content::default() }, wanted, wanted);
        Step { space: Space { wanted, there, freed, sparse: false }, ..step }
    }

    fn plan(steps: Vec<Step>, deleted: &[u64]) -> Plan {
        let delete = |freed: &u64| Step::delete(PathBuf::from("y"), FileType::RegularFile, 0, *freed);
        Plan { steps, deletions: deleted.iter().map(delete).collect(), ..Plan::default() }
    }

    #[test]
    fn files_that_are_replaced_one_after_the_other_need_the_space_of_one() {
        let many = || (0..1000).map(|_| step(Way::Anew, 4096, 4096, 4096)).collect();
        assert_eq!(peak(&plan(many(), &[]), false), 4096);
        let mut growing: Vec<_> = many();
        growing.push(step(Way::Anew, 10_000, 0, 0));
        assert_eq!(peak(&plan(growing, &[]), false), 10_000);
        // Where the old content has another name, nothing comes free.
        assert_eq!(peak(&plan((0..10).map(|_| step(Way::Anew, 4096, 4096, 0)).collect(), &[]), false), 40_960);
    }

    #[test]
    fn what_is_deleted_counts_once_it_is_gone() {
        let large = || plan(vec![step(Way::Anew, 10_000, 0, 0)], &[6000, 3000]);
        assert_eq!((peak(&large(), false), peak(&large(), true)), (10_000, 1000));
        assert_eq!(peak(&Plan { first_deletions: 1, ..large() }, false), 4000);
        assert_eq!(peak(&plan(vec![step(Way::Anew, 10, 0, 0)], &[6000]), true), 0);
    }

    #[test]
    fn a_file_that_is_written_in_place_needs_what_it_grows_by() {
        assert_eq!(peak(&plan(vec![step(Way::InPlace, 10_000, 8000, 8000)], &[]), false), 2000);
        assert_eq!(peak(&plan(vec![step(Way::InPlace, 8000, 10_000, 10_000)], &[]), false), 0);
        let mut sparse = step(Way::InPlace, 8000, 8000, 8000);
        sparse.space.sparse = true; // its data may lie where the backup has holes
        assert_eq!(peak(&plan(vec![sparse], &[]), false), 4000);
    }

    #[test]
    fn a_directory_goes_before_the_file_that_takes_its_place() {
        let mut replaced = step(Way::Anew, 4096, 0, 100_000);
        replaced.instead = Some(FileType::Directory);
        assert_eq!(peak(&plan(vec![replaced, step(Way::Anew, 50_000, 0, 0)], &[]), false), 0);
    }
}
