#!/bin/sh
# Installs a container engine with Compose, whichever this system has, and starts the machine's Compose file as a service.
set -e
has() { command -v "$1" >/dev/null 2>&1; }
if ! has docker; then
    if has apt-get; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update
        apt-get install -y --no-install-recommends docker.io
    elif has dnf; then
        dnf install -y docker || dnf install -y moby-engine
    elif has yum; then
        yum install -y docker
    elif has apk; then
        apk add docker
    else
        echo "infra: no package manager that is known here can install Docker" >&2
        exit 1
    fi
fi
if ! docker compose version >/dev/null 2>&1 && ! has docker-compose; then
    if has apt-get; then
        apt-get install -y --no-install-recommends docker-compose-v2 ||
            apt-get install -y --no-install-recommends docker-compose-plugin ||
            apt-get install -y --no-install-recommends docker-compose
    elif has dnf; then
        dnf install -y docker-compose-plugin || dnf install -y docker-compose
    elif has apk; then
        apk add docker-cli-compose
    fi
fi
systemctl daemon-reload
systemctl enable --now docker infra-compose
