#!/bin/sh
# Makes the login of this machine; run once, before sshd.
set -e
login=$(cat /etc/infra/login)
id -- "$login" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash -- "$login"
home=$(getent passwd -- "$login" | cut -d: -f6)
if [ "$login" != root ]; then
    printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$login" >"/etc/sudoers.d/90-infra"
    chmod 440 /etc/sudoers.d/90-infra
fi
mkdir -p "$home/.ssh"
cp /etc/infra/authorized_keys "$home/.ssh/authorized_keys"
chmod 700 "$home/.ssh"
chmod 600 "$home/.ssh/authorized_keys"
chown -R "$login:" "$home/.ssh"
if [ -x /etc/infra/user-data ]; then
    /etc/infra/user-data || echo "user-data ended with $?" >&2
    chmod 600 /etc/infra/user-data
fi
/usr/local/lib/infra/package-cache take || :
mv /etc/infra/boot.sh /etc/infra/boot.done
