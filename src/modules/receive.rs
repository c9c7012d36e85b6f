//! A file that comes over a channel of its own, and is kept on the host until another task takes it from there.

use super::{
    content::functions,
    probe::Algorithm,
    script::{Sh, sh},
};

/// The script that keeps its standard input as a file in a new folder of `within`, and prints where the file is and its checksum. No
/// other user can put another file there: each folder on the way is one that only root and we may change, or in which everyone may
/// change only what is theirs, as in `/var/tmp`.
#[must_use]
pub fn receive(within: &str, name: &str, algorithm: Algorithm) -> Sh {
    sh!(
        "{0}enter {1}
( while :; do
    trusted || case $(stat -c '%u %a' .) in
      '0 '[1357]??? | \"$me \"[1357]???) ;;
      *) fail \"$(pwd -P) can be changed by another user: what is fetched is not kept below it\" ;;
    esac
    [ \"$(pwd -P)\" != / ] || break
    cd -P ..
  done ) || exit 1
umask 077
mkdir -- ./{2} && cat >./{2}/file && chmod 0644 ./{2}/file && printf '%s\\n' \"$(pwd -P)\"/{2}/file && {3} <./{2}/file | cut -d' ' -f1",
        functions(),
        within,
        name,
        algorithm.program()
    )
}
