update-ca-certificates >/dev/null 2>&1

# Containers are thrown away: no need to wait for the disk after every file.
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/infra

# Downloads are shared between machines through one volume, which no machine trusts: see package-cache.sh.
cat >/etc/apt/apt.conf.d/90infra <<'END-OF-FILE'
Acquire::Languages "none";
Acquire::Retries "3";
APT::Keep-Downloaded-Packages "true";
APT::Update::Post-Invoke { "/usr/local/lib/infra/package-cache take || true"; };
DPkg::Pre-Install-Pkgs { "/usr/local/lib/infra/package-cache check"; };
DPkg::Pre-Invoke { "/usr/local/lib/infra/package-cache give || true"; };
END-OF-FILE
mkdir -p /var/cache/infra /etc/infra
chmod 755 /usr/local/lib/infra/package-cache

# Only keys open a machine, and only the pinned host key speaks for it.
cat >/etc/ssh/sshd_config.d/infra.conf <<'END-OF-FILE'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxSessions 64
MaxStartups 64:30:128
PrintMotd no
PrintLastLog no
END-OF-FILE
rm -f /etc/ssh/ssh_host_*

cat >/etc/systemd/system/infra-boot.service <<'END-OF-FILE'
[Unit]
Description=Login and keys of this machine
ConditionPathExists=/etc/infra/boot.sh
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/etc/infra/boot.sh
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
END-OF-FILE
systemctl enable infra-boot.service >/dev/null 2>&1
systemctl enable ssh.service >/dev/null 2>&1

# A container cannot make user namespaces of its own, and has no hardware to wait for.
mkdir -p /etc/systemd/system/service.d
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/service.d/10-container.conf
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    getty.target console-getty.service systemd-logind.service systemd-timesyncd.service systemd-networkd.service \
    systemd-remount-fs.service sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' >/etc/systemd/journald.conf.d/infra.conf
: >/etc/machine-id
# The package lists stay: a fresh machine need not fetch and read them again as long as they are young.
rm -rf /var/cache/apt/archives/*.deb /usr/share/doc/* /usr/share/man/*
