//! What becomes of something that Ansible knows.

/// What becomes of a keyword or a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what it does in Ansible.
    Done,
    /// It is accepted and changes nothing, for this reason.
    NoEffect(&'static str),
    /// It is an error; this is what to do instead.
    Refused(&'static str),
}
