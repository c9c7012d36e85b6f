# Makes the disks of a machine usable: each has a file system that is as large as the disk, mounted at its folder. What is in order
# already is left alone, and a disk that holds anything at all never gets a file system.
# Each line of the list is a device, its folder and the GiB that it must have. The folder `/` stands for the first disk, whose
# device the machine knows itself.
# Prints what it does; lines that begin with `warning: ` say what it does not.
failed=0
fail() {
    echo "$1" >&2
    failed=1
}

# Waits until a device is there, and the machine sees all of it.
await() {
    tries=0
    until [ -b "$1" ] && size=$(blockdev --getsize64 "$1") && [ "$size" -ge $(($2 * 1073741824)) ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt "$patience" ]; then
            if [ -b "$1" ]; then
                fail "the machine does not see the new size of the disk at \`$3\` ($2 GiB): restart it, then apply again"
            else
                fail "the disk at \`$3\` is not attached: there is no \`$1\`"
            fi
            return 1
        fi
        sleep 1
    done
}

# Grows the file system that is mounted at a folder to the size of its device.
grow() {
    before=$(stat -f -c %b "$1")
    case $3 in
    ext2 | ext3 | ext4) said=$(resize2fs "$2" 2>&1) ;;
    xfs) said=$(xfs_growfs "$1" 2>&1) ;;
    btrfs) said=$(btrfs filesystem resize max "$1" 2>&1) ;;
    *) return 0 ;;
    esac || {
        fail "the file system at \`$1\` cannot be made larger: $said"
        return 1
    }
    [ "$(stat -f -c %b "$1")" = "$before" ] || echo "the file system at \`$1\` was made larger"
}

first() {
    at=$(readlink -f "/sys/dev/block/$(mountpoint -d /)")
    if [ ! -e "$at/partition" ]; then
        echo "warning: the first disk was made larger, and \`/\` is not a partition of it: grow it by hand"
        return
    fi
    if ! command -v growpart >/dev/null; then
        echo "warning: the first disk was made larger, and \`/\` was not: \`growpart\` (of cloud-guest-utils) is not installed"
        return
    fi
    part=$(cat "$at/partition")
    whole=${at%/*}
    whole=/dev/${whole##*/}
    await "$whole" "$1" / || return
    # It ends with 1 when there is nothing to grow.
    said=$(growpart "$whole" "$part" 2>&1) || [ $? = 1 ] || {
        fail "the partition of \`/\` cannot be made larger: $said"
        return
    }
    grow / "/dev/${at##*/}" "$(findmnt -n -o FSTYPE /)"
}

# Lets /etc/fstab name a device for a folder. The entry of a disk of infra that is gone is replaced; what anyone else has entered
# for the folder stays, and is an error.
enter() {
    for named in $(awk -v folder="$2" '$1 !~ /^#/ && $2 == folder { print $1 }' /etc/fstab); do
        case $named in
        UUID=* | LABEL=* | PARTUUID=* | PARTLABEL=*) found=$(findfs "$named" 2>/dev/null) ;;
        *) found=$named ;;
        esac
        if [ -b "$found" ] && [ "$(readlink -f "$found")" = "$(readlink -f "$1")" ]; then
            return 0
        fi
        if [ -b "$found" ] || [ "${named%/*}" != "${1%/*}" ]; then
            fail "/etc/fstab mounts \`$named\` at \`$2\`, where the disk \`$1\` belongs: take that entry out, or give it another folder"
            return 1
        fi
    done
    awk -v folder="$2" '$1 ~ /^#/ || $2 != folder' /etc/fstab >/etc/fstab.infra &&
        echo "$1 $2 $3 defaults,nofail 0 2" >>/etc/fstab.infra &&
        chmod 644 /etc/fstab.infra && mv /etc/fstab.infra /etc/fstab || {
        fail "/etc/fstab cannot be written"
        return 1
    }
    # What was made of the entry before would unmount the folder again.
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

# Whether what is mounted is on a disk: that itself, or a partition or a volume of it.
is_on() {
    lsblk -n -s -r -o NAME "$1" 2>/dev/null | grep -qxF "$(basename "$(readlink -f "$2")")"
}

data() {
    await "$1" "$3" "$2" || return
    mounted=$(findmnt -n -o SOURCE --mountpoint "$2" | tail -n 1)
    mounted=${mounted%%\[*}
    case $mounted in
    '') ;;
    /dev/*)
        if [ ! -b "$mounted" ]; then
            # The disk that was there is gone.
            said=$(umount -l "$2" 2>&1) || {
                fail "what is left of the disk that was at \`$2\` cannot be unmounted: $said"
                return
            }
        elif [ "$(readlink -f "$mounted")" = "$(readlink -f "$1")" ]; then
            grow "$2" "$1" "$(blkid -p -o value -s TYPE "$1")"
            return
        elif is_on "$mounted" "$1"; then
            return
        else
            echo "warning: \`$mounted\` is mounted at \`$2\`, where the disk \`$1\` belongs"
            return
        fi
        ;;
    *)
        echo "warning: \`$mounted\` is mounted at \`$2\`, where the disk \`$1\` belongs"
        return
        ;;
    esac
    # Who mounts it elsewhere has a reason.
    elsewhere=$(findmnt -n -o TARGET --source "$(readlink -f "$1")" | head -n 1)
    if [ -n "$elsewhere" ]; then
        grow "$elsewhere" "$1" "$(blkid -p -o value -s TYPE "$1")"
        return
    fi
    [ -z "$(lsblk -n -r -o MOUNTPOINT "$1" | tr -d ' \n')" ] || return 0
    if is_blank "$1"; then
        said=$(mkfs.ext4 -q "$1" 2>&1) || {
            fail "the disk at \`$2\` gets no file system: $said"
            return
        }
        echo "the disk at \`$2\` was empty and has a file system now"
    fi
    if [ "$(blkid -p -o value -s USAGE "$1" 2>/dev/null)" != filesystem ]; then
        fail "the disk \`$1\` holds something that is not a file system, so that it is not mounted at \`$2\`: mount it there, or empty it (\`wipefs -a\`, then \`blkdiscard -z\`)"
        return
    fi
    mkdir -p "$2"
    enter "$1" "$2" "$(blkid -p -o value -s TYPE "$1")" || return
    if ! mountpoint -q "$2" && [ -n "$(ls -A "$2")" ]; then
        echo "warning: what was written into \`$2\` while its disk was missing is on the first disk, hidden below the mounted one"
    fi
    # Systemd may have mounted it meanwhile.
    said=$(mount "$2" 2>&1) || mountpoint -q "$2" || {
        fail "the disk at \`$2\` cannot be mounted: $said"
        return
    }
    echo "the disk at \`$2\` is mounted"
    grow "$2" "$1" "$(blkid -p -o value -s TYPE "$1")"
}

exec 9>/run/infra-disks.lock
flock 9
while read -r device folder gib <&3; do
    if [ "$folder" = / ]; then first "$gib"; else data "$device" "$folder" "$gib"; fi
done 3<<'@MARK@'
@DISKS@
@MARK@
exit "$failed"
