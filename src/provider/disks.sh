#!/bin/sh
# Mounts the machine's further disks, each as soon as it is attached; a blank disk gets a file system. cloud-init may run this again
# on a disk that is in use or was kept: cloud-init's own module for that would format it, this does not.
cat >/usr/local/sbin/infra-disks <<'END-OF-SCRIPT'
#!/bin/sh
@IS_BLANK@
while read -r device folder <&3; do
    tries=0
    until [ -b "$device" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 600 ] || { echo "$device was not attached within ten minutes" >&2; continue 2; }
        sleep 1
    done
    # An apply looks at the disks too.
    (
        flock 9
        ! is_blank "$device" || mkfs.ext4 -q "$device"
        if [ "$(blkid -p -o value -s USAGE "$device")" != filesystem ]; then
            echo "$device holds something that is not a file system: it is not mounted at $folder" >&2
            exit
        fi
        mkdir -p "$folder"
        awk -v folder="$folder" '$1 !~ /^#/ && $2 == folder { found = 1 } END { exit !found }' /etc/fstab ||
            echo "$device $folder $(blkid -p -o value -s TYPE "$device") defaults,nofail 0 2" >>/etc/fstab
        mountpoint -q "$folder" || mount "$folder"
    ) 9>/run/infra-disks.lock
done 3</etc/infra-disks
END-OF-SCRIPT
printf '%s\n' @DISKS@ >/etc/infra-disks
chmod 755 /usr/local/sbin/infra-disks
missing=
while read -r device _; do
    [ -b "$device" ] || missing=$device
done </etc/infra-disks
if [ -z "$missing" ]; then
    # What the user-data does next finds them mounted.
    /usr/local/sbin/infra-disks
else
    # The rest of the boot need not wait for them, except what uses them.
    systemd-run --no-block --unit=infra-disks --property=Type=oneshot --property=Before=infra-compose.service \
        /usr/local/sbin/infra-disks
fi
