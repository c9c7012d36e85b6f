#!/bin/sh
# Sets up what is missing to build and to run the local provider on Debian or Ubuntu: a C compiler, Docker Engine, and
# mmdebstrap for machines where no image registry answers. It does nothing where all of that is there, and then needs no root.
set -eu

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else
        say "this needs root: $*"
        exit 1
    fi
}
engine_answers() { docker version >/dev/null 2>&1; }
registry_answers() { have curl && curl -fsS -m 5 -o /dev/null https://registry-1.docker.io/v2/ 2>/dev/null || [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' https://registry-1.docker.io/v2/ 2>/dev/null)" = 401 ]; }

have cargo || { say "Rust is missing: https://rustup.rs installs it"; exit 1; }

packages=
have cc || packages="$packages gcc libc6-dev"
have docker && (have dockerd || engine_answers) || packages="$packages docker.io"
if { ! have mmdebstrap || ! have newuidmap; } && ! registry_answers; then packages="$packages mmdebstrap debian-archive-keyring uidmap"; fi
if [ -n "$packages" ]; then
    have apt-get || { say "install these first:$packages"; exit 1; }
    say "installing$packages"
    as_root apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
fi

if ! engine_answers; then
    say "starting Docker Engine"
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
    else
        as_root sh -c 'nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &'
    fi
    for _ in $(seq 60); do
        engine_answers && break
        sleep 0.5
    done
fi
engine_answers || {
    say "Docker Engine does not answer; if you are not in the group docker: sudo usermod -aG docker \$USER, then log in again"
    exit 1
}
