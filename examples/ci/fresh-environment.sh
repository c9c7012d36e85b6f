#!/bin/sh
# Makes a fresh environment, runs a command against it, and destroys it again, however the command ends: also when the job is
# cancelled. What even a killed machine leaves behind is swept away by `infra gc` when its time is over.
#
#   fresh-environment.sh TEMPLATE NAME COMMAND...
#   fresh-environment.sh dev pr-42 make integration-test
#
# The outputs of the environment are variables of the command: `application` is $APPLICATION.
set -eu
template=$1
name=$2
shift 2

clean_up() {
    status=$?
    trap - EXIT
    infra destroy "$name" --yes --lock-timeout 2m || {
        # An environment whose first apply was stopped at once does not exist yet.
        infra ls --json | grep -q "\"environment\": \"$name\"" && status=1
    }
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

infra gc
infra apply "$template" --name "$name" --ttl 2h --yes --lock-timeout 10m --wait-healthy
outputs=$(infra output "$name" --format env)
eval "$outputs"
"$@"
