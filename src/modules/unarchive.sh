# Unpacks what `archive.sh` looks at. `keep_newer` is `newer` where files that are newer stay.
# differ OPTIONS...: whether something that the archive holds has other attributes than asked for.
differ() {
  [ -n "$owner$group$mode" ] || return 1
  owners "$@" | {
    while IFS='|' read -r uid user gid grp bits kind; do
      [ -z "$owner" ] || [ "$owner" = "${uid#own:}" ] || [ "$owner" = "$user" ] || exit 0
      [ -z "$group" ] || [ "$group" = "$gid" ] || [ "$group" = "$grp" ] || exit 0
      case $mode:$kind in
        :* | *:a???) ;;
        *[!0-7]*:*) ( private; case $kind in 4???) mkdir ./m ;; *) : >./m ;; esac
          chmod "$bits" ./m && chmod -- "$mode" ./m && [ "$(stat -c %a ./m)" = "$bits" ] ) || exit 0 ;;
        *) [ "$((0$bits))" = "$((0$mode))" ] || exit 0 ;;
      esac
    done
    exit 1
  }
}
# policy OPTIONS...: what becomes of files that are there (`existing`), of links in place of folders, and of folders' attributes.
policy() {
  existing=$keep_newer links=replace folders=archive
  ! is_zip || { links=follow folders=asked; }
  for option do
    case $zip$option in
      no--skip-old-files | yes-n) existing=skip ;;
      no--keep-old-files | no-k) existing=fail ;;
      no--keep-newer-files | yes-u) existing=newer ;;
      no--no-overwrite-dir) folders=asked ;;
      no--keep-directory-symlink) links=follow ;;
    esac
  done
}
# unpack OPTIONS...: unpacks the archive where what it holds is missing or other; says `changed`. It is unpacked into a folder that
# only we can enter, file 9, and what it holds gets its attributes there. From there it comes to its place one folder after the
# other, each of them held open, and replaces what has its name: no link leads anywhere.
unpack() {
  state=$(compare "$@") || exit 1
  [ "$state" = differs ] || differ "$@" || return 0
  policy "$@"
  private
  names "$@" | sed 's,^\(\./\)*,,; s,//*$,/,' >./names
  mkdir ./tree || exit 1
  (
    cd -P ./tree && umask "$mask" || exit 1
    if is_zip; then unzip -o -q "$@" "$archive"; else tar -x -f "$archive" "$@"; fi || exit 1
    dress_below
  ) || exit 1
  exec 9<.
  base=/proc/self/fd/9 stage=/proc/self/fd/9/tree
  device=$(stat -c %d .)
  ( cd -P .. && [ "$(stat -c %d:%i .)" = "$here" ] || refuse "$PWD"; settle '' ) || exit 1
}
# dress_below: what is below the working folder gets the attributes that are asked for.
dress_below() {
  who=$owner${group:+:$group}
  [ -z "$who" ] || find . -mindepth 1 -exec chown -h -- "$who" '{}' + || exit 1
  [ -z "$mode" ] || find . -depth -mindepth 1 ! -type l -exec chmod -- "$mode" '{}' + || exit 1
}
# holds FOLDER: whether the archive holds that folder itself, and not only files in it.
holds() { grep -qxF -- "$1" "$base/names"; }
# settle FOLDER: what was unpacked into that folder, whose name is empty or ends with a slash, comes into the working one.
settle() {
  if [ "$(stat -c %d .)" != "$device" ]; then
    elsewhere "$1"
    return
  fi
  some=
  for entry in "$stage/$1"* "$stage/$1".[!.]* "$stage/$1"..?*; do
    item=${entry##*/}
    if [ -L "$entry" ] || { [ -e "$entry" ] && [ ! -d "$entry" ]; }; then
      if stays; then rm -f -- "$entry" || exit 1; continue; fi
      [ -L "./$item" ] || [ ! -d "./$item" ] || rmdir -- "./$item" || exit 1
      some=1
    fi
  done
  if [ -n "$some" ]; then
    find "$stage/$1." -mindepth 1 -maxdepth 1 ! -type d -exec mv -f -t . -- '{}' + || exit 1
    echo changed
  fi
  for entry in "$stage/$1"* "$stage/$1".[!.]* "$stage/$1"..?*; do
    item=${entry##*/}
    [ -d "$entry" ] && [ ! -L "$entry" ] || continue
    if [ -L "./$item" ] && [ "$links" = replace ] && holds "$1$item/"; then rm -f -- "./$item" || exit 1; fi
    if [ -d "./$item" ]; then
      ( down "$item" 0 || fail "\`$PWD/$item\` cannot be entered"; settle "$1$item/" ) || exit 1
    elif ! stays; then
      [ ! -e "./$item" ] && [ ! -L "./$item" ] || rm -f -- "./$item" || exit 1
      bits=
      # Who is not root needs to write to a folder that gets another parent.
      [ -w "$entry" ] || { bits=$(stat -c %a -- "$entry") && chmod u+w -- "$entry"; } || exit 1
      mv -T -- "$entry" "./$item" || exit 1
      [ -z "$bits" ] || chmod "$bits" "./$item" || exit 1
      echo changed
    fi
  done
  ! holds "$1" || like "$stage/$1."
}
# like FOLDER: the working folder gets the attributes of that one, or only those that are asked for.
like() {
  if [ "$folders" = archive ]; then
    chown --reference="$1" . 2>/dev/null || [ "$me" != 0 ] || exit 1
    chmod --reference="$1" . && touch -r "$1" . || exit 1
  else
    [ -z "$owner$group" ] || chown -- "$owner${group:+:$group}" . || exit 1
    [ -z "$mode" ] || chmod -- "$mode" . || exit 1
  fi
}
# stays: whether what has the name `item` in the working folder stays, and is not replaced by `entry`.
stays() {
  [ -e "./$item" ] || [ -L "./$item" ] || return 1
  case $existing in
    '') return 1 ;;
    skip) return 0 ;;
    fail) fail "\`$PWD/$item\` is there already" ;;
  esac
  if [ -L "./$item" ] && [ -L "$entry" ]; then
    [ "$(readlink -- "./$item")" = "$(readlink -- "$entry")" ]
    return
  fi
  [ -f "./$item" ] && [ ! -L "./$item" ] && [ -f "$entry" ] && [ ! -L "$entry" ] || return 1
  [ ! "./$item" -nt "$entry" ] || return 0
  cmp -s -- "$entry" "./$item" && [ "$(stat -c '%u %g %a' -- "$entry")" = "$(stat -c '%u %g %a' -- "./$item")" ]
}
# elsewhere FOLDER: as `settle` where the working folder is on another file system.
elsewhere() {
  (
    private
    mkdir -p "./tree/$1" && cp -- "$base/names" ./names && cp -a -- "$stage/$1." "./tree/$1" || exit 1
    exec 9<.
    device=$(stat -c %d .)
    ( cd -P .. && [ "$(stat -c %d:%i .)" = "$here" ] || refuse "$PWD"; settle "$1" )
  ) || exit 1
}
