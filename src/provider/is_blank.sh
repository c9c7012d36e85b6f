# Prints the first and the last MiB of a device of so many bytes, and 126 pieces of 256 KiB spread evenly between.
pieces() {
    dd if="$1" bs=4096 count=256
    place=1
    while [ "$place" -lt 127 ]; do
        dd if="$1" bs=4096 count=64 skip=$((($2 / 4096 - 64) * place / 127))
        place=$((place + 1))
    done
    dd if="$1" bs=4096 count=256 skip=$(($2 / 4096 - 256))
}

# Whether nothing was ever written on a device: no program knows its content, and these pieces of it have only zeros. A raw or
# encrypted disk has no signature, and is not blank. Neither is one that cannot be read.
is_blank() {
    blkid -p "$1" >/dev/null 2>&1
    [ $? = 2 ] && bytes=$(blockdev --getsize64 "$1") && [ "$bytes" -ge 1048576 ] || return 1
    [ "$(pieces "$1" "$bytes" 2>/dev/null | wc -c)" = 35127296 ] &&
        [ "$(pieces "$1" "$bytes" 2>/dev/null | tr -d '\0' | wc -c)" = 0 ]
}
