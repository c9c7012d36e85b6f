#!/bin/sh
# One figure: how long `infra apply dev` takes to configure fresh machines, against a plain shell script that does nothing
# but the same package installs over OpenSSH, on the same kind of machines, in parallel. Prints both and their ratio.
set -eu
cd "$(dirname "$0")/.."
infra=$(pwd)/target/$(rustc --print host-tuple)/debug/infra
folder=$(mktemp -d)
trap '"$infra" destroy bench --yes >/dev/null 2>&1 || :; rm -rf "$folder"' EXIT
mkdir -p "$folder/envs"
cp -r envs/dev "$folder/envs/bench"
BINGO_BINARY=$(pwd)/target/bingo
export BINGO_BINARY
cd "$folder"
now() { date +%s.%N; }

# The machines alone, then the packages by hand.
"$infra" apply bench --yes --set 'playbooks=[]' >/dev/null 2>&1
"$infra" ssh-config bench >ssh-config
install() {
    host=$1
    shift
    ssh -F ssh-config "$host" "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $*" >/dev/null 2>&1
}
begun=$(now)
install postgres-main postgresql-15 prometheus-postgres-exporter prometheus-node-exporter &
install nginx-front nginx-light prometheus-nginx-exporter mtail prometheus-node-exporter &
install monitoring prometheus prometheus-node-exporter &
for host in bastion bingo-1 bingo-2; do install "$host" prometheus-node-exporter & done
wait
script=$(echo "$(now) - $begun" | bc)
"$infra" destroy bench --yes >/dev/null 2>&1

begun=$(now)
"$infra" apply bench --yes >/dev/null 2>&1
apply=$(echo "$(now) - $begun" | bc)
begun=$(now)
"$infra" apply bench --yes >/dev/null 2>&1
again=$(echo "$(now) - $begun" | bc)
begun=$(now)
"$infra" plan bench >/dev/null 2>&1
plan=$(echo "$(now) - $begun" | bc)
begun=$(now)
"$infra" destroy bench --yes >/dev/null 2>&1
destroy=$(echo "$(now) - $begun" | bc)

printf 'packages by a shell script over OpenSSH  %6.1f s\n' "$script"
printf 'infra apply, everything from nothing     %6.1f s  (%.2f times the script)\n' "$apply" "$(echo "$apply / $script" | bc -l)"
printf 'infra apply again, nothing to do         %6.1f s\n' "$again"
printf 'infra plan                               %6.1f s\n' "$plan"
printf 'infra destroy                            %6.1f s\n' "$destroy"
