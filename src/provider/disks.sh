#!/bin/sh
# Mounts the machine's further disks, each as soon as it is attached; an empty disk gets a file system.
cat >/usr/local/sbin/infra-disks <<'END-OF-SCRIPT'
#!/bin/sh
while read -r device folder; do
    tries=0
    until [ -b "$device" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 600 ] || { echo "$device was not attached within ten minutes" >&2; continue 2; }
        sleep 1
    done
    # An apply looks at the disks too.
    (
        flock 9
        blkid -p "$device" >/dev/null 2>&1
        [ $? != 2 ] || mkfs.ext4 -q "$device"
        mkdir -p "$folder"
        grep -q " $folder " /etc/fstab || echo "$device $folder ext4 defaults,nofail 0 2" >>/etc/fstab
        mountpoint -q "$folder" || mount "$folder"
    ) 9>/run/infra-disks.lock
done </etc/infra-disks
END-OF-SCRIPT
cat >/etc/infra-disks <<'END-OF-DISKS'
@DISKS@
END-OF-DISKS
chmod 755 /usr/local/sbin/infra-disks
# Whatever else boots need not wait for it.
systemd-run --unit=infra-disks /usr/local/sbin/infra-disks
