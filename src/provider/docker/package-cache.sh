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

# The checksums of one package's version, from the indexes that apt has verified.
checksums() {
    apt-cache show "$1" 2>/dev/null | sed -n 's/^SHA256: *//p'
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
    if cp -- "$path" "$copy" 2>/dev/null; then
        sum=$(sha256sum <"$copy")
        if checksums "$name=$version" | grep -qxF "${sum%% *}"; then
            mv -f -- "$copy" "$path"
            return
        fi
    fi
    rm -f "$copy" "$path" "$pool/$file"
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
    find "$cache/machines" -mindepth 1 -maxdepth 1 -mtime +2 -exec rm -rf {} + 2>/dev/null
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
    for package in "$archive"/*.deb; do
        if [ ! -f "$package" ] || [ -L "$package" ]; then continue; fi
        shared=$pool/${package##*/}
        [ -e "$shared" ] && continue
        copy=$(mktemp "$pool/.copy-XXXXXX") || continue
        cp -- "$package" "$copy" && chmod 644 "$copy" && mv -n -- "$copy" "$shared"
        rm -f "$copy"
    done
    ;;
esac
exit 0
