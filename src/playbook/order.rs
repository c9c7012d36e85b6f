//! Which plays wait for which. A play begins when all earlier plays that could matter to it have ended:
//!
//! - those of earlier playbooks,
//! - if it is linear, all of them; and whatever it is, those that are linear,
//! - those that have a host in common with it,
//! - all of them, where it names hosts or groups that are not there when the run begins.
//!
//! What is left are plays with `strategy: free` of one playbook for different machines: they overlap, and a task of one that
//! looks at what an earlier one configures (`postgres`, `nginx`, `hostvars`, `groups`) waits for the end of that one.

use super::model::Play;

/// What of a play decides its place.
pub(super) struct Placed<'a> {
    /// The play.
    pub(super) play: &'a Play,
    /// Its hosts.
    pub(super) hosts: &'a [String],
    /// Whether it names hosts or groups that are not there yet: an earlier play may add them.
    pub(super) is_late: bool,
}

/// Where an earlier play is, seen from a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    /// Plays that have ended when this one begins.
    pub(super) ended: Vec<usize>,
    /// Plays that run beside it.
    pub(super) beside: Vec<usize>,
}

/// For each play what its earlier ones are to it.
pub(super) fn order(plays: &[Placed<'_>]) -> Vec<Before> {
    let playbooks = playbooks(plays);
    let apart = |a: usize, b: usize| !plays[a].hosts.iter().any(|host| plays[b].hosts.contains(host));
    let before = |number: usize| {
        let (beside, ended) = (0..number).partition(|earlier| {
            playbooks[*earlier] == playbooks[number]
                && plays[*earlier].play.free
                && plays[number].play.free
                && !plays[number].is_late
                && apart(*earlier, number)
        });
        Before { ended, beside }
    };
    (0..plays.len()).map(before).collect()
}

/// The number of each play's playbook: plays of one file that follow each other are of one playbook.
fn playbooks(plays: &[Placed<'_>]) -> Vec<usize> {
    let file = |at: usize| &plays[at].play.mark.source().file;
    let mut number = 0;
    (0..plays.len())
        .map(|at| {
            number += usize::from(at > 0 && file(at) != file(at - 1));
            number
        })
        .collect()
}
