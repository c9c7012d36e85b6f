#!/bin/sh
# Downloads of packages, shared by the machines of an engine through one volume. Every machine may write to it, so that none
# of them trusts it: apt compares the size only of what it finds in its archive.
# take:  links the shared packages into the archive of apt, so that they need not be downloaded.
# check: reads the names of packages that are about to be installed. Those that are links are copied out of reach of other
#        machines, and the copy has to have the checksum of the signed index; otherwise it is downloaded.
# give:  copies what this machine has downloaded itself, and apt has verified, to the volume.
cache=/var/cache/infra
archive=/var/cache/apt/archives
pool=$cache/pool
[ -w "$cache" ] || [ "$1" = check ] || exit 0
umask 022

# A field of one package's version, from the indexes that apt has verified.
indexed() {
    apt-cache show "$2" 2>/dev/null | sed -n "s/^$1: *//p"
}

# Enters a folder of the volume. Another machine may put a link in its place at any time: what is done then is done in the folder
# that was entered, by relative names, and never elsewhere on this machine.
enter() {
    cd -P "$cache" 2>/dev/null || return 1
    inside=$(pwd -P)/$1
    cd -P "$1" 2>/dev/null && [ "$(pwd -P)" = "$inside" ]
}

# Copies a shared package to a file of this machine: a regular file only, no more than the bytes that the index says, and not
# for longer than a minute.
fetch() {
    (
        enter pool && [ -f "./$1" ] && [ ! -L "./$1" ] || exit 1
        timeout 60 dd if="./$1" of="$2" bs=1M count="$3" iflag=nofollow,nonblock,fullblock,count_bytes conv=excl status=none
    ) 2>/dev/null
}

check() {
    path=$1
    [ -L "$path" ] || return 0
    file=${path##*/}
    name=${file%%_*}
    rest=${file#*_}
    version=$(printf %s "${rest%_*}" | sed 's/%3a/:/g; s/%3A/:/g')
    architecture=${rest##*_}
    architecture=${architecture%.deb}
    [ "$architecture" = all ] || name=$name:$architecture
    copy=$path.infra-copy
    rm -f "$copy"
    size=$(indexed Size "$name=$version" | sort -n | tail -n 1)
    if fetch "$file" "$copy" "${size:-1073741824}"; then
        sum=$(sha256sum <"$copy")
        if indexed SHA256 "$name=$version" | grep -qxF "${sum%% *}"; then
            mv -f -- "$copy" "$path"
            return
        fi
    fi
    rm -f "$copy" "$path"
    (enter pool && rm -rf "./$file")
    echo "infra: the shared package cache holds another \`$file\` than the archive: it is downloaded" >&2
    folder=$(mktemp -d) || return 1
    (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download "$name=$version") && mv -f -- "$folder"/*.deb "$path"
    status=$?
    rm -rf "$folder"
    return $status
}

case $1 in
take)
    # An image that was made by an earlier version has a link to the volume here.
    if [ -L "$archive" ]; then rm -f "$archive"; fi
    mkdir -p "$pool" "$archive/partial"
    for package in "$pool"/*.deb; do
        [ -f "$package" ] || continue
        [ -e "$archive/${package##*/}" ] || ln -sf "$package" "$archive/" 2>/dev/null
    done
    # Machines of earlier versions have their archives here.
    (enter machines && find . -mindepth 1 -maxdepth 1 -mtime +2 -exec rm -rf {} + 2>/dev/null)
    ;;
check)
    failed=0
    while read -r path; do
        case $path in
        "$archive"/*.deb) check "$path" || failed=1 ;;
        esac
    done
    exit $failed
    ;;
give)
    mkdir -p "$pool"
    enter pool || exit 0
    for package in "$archive"/*.deb; do
        if [ ! -f "$package" ] || [ -L "$package" ]; then continue; fi
        shared=./${package##*/}
        [ -e "$shared" ] && continue
        # Created exclusively: a link that another machine puts in its place is not followed.
        copy=$(mktemp -u ./.copy-XXXXXX) || continue
        dd if="$package" of="$copy" bs=1M conv=excl oflag=nofollow status=none 2>/dev/null || continue
        mv -nT -- "$copy" "$shared"
        rm -f "$copy"
    done
    ;;
esac
exit 0
