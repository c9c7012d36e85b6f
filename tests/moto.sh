#!/bin/sh
# Installs moto, a simulator of Amazon Web Services that was not written for this project, into target/moto.
set -eu
version=5.2.5
[ -x target/moto/bin/moto_server ] && [ -e "target/moto/$version" ] && [ -e target/moto/rds.json ] && exit 0
if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
    echo "moto: installing Python"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update >/dev/null
    $sudo apt-get install -y --no-install-recommends python3 python3-venv >/dev/null
fi
echo "moto: installing version $version"
rm -rf target/moto
python3 -m venv target/moto
target/moto/bin/pip install --quiet --disable-pip-version-check "moto[server]==$version"
# The service model tells which parameters a call may have: moto itself takes anything.
models=$(echo target/moto/lib/python3*/site-packages/botocore/data)
for model in ec2/2016-11-15 elbv2/2015-12-01 autoscaling/2011-01-01 iam/2010-05-08 sts/2011-06-15 rds/2014-10-31; do
    gunzip -c "$models/$model/service-2.json.gz" >"target/moto/${model%/*}.json"
done
: >"target/moto/$version"
