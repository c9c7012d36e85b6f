# Files are changed from within their folder, which is entered one name after the other. Where another user may write to a
# folder, nothing that lies in it is trusted: a link there leads only to what is that user's own anyway, new content is
# made in a folder that only we can enter, and attributes are set on the very file that was looked at.
start=$(pwd); me=$(id -u); mask=$(umask)
fail() { printf '%s\n' "$1" >&2; exit 1; }
refuse() { fail "\`$1\` is a link that another user may have put there, to what is not theirs: it is not followed"; }
# Whether only root and we may change what is in the working folder.
trusted() {
  set -- $(stat -c '%u %a' .)
  [ "$1" = 0 ] || [ "$1" = "$me" ] || return 1
  case $2 in *[2367] | *[2367]?) return 1 ;; esac
}
# follows LINK KIND: goes to where a link leads: into a folder, or to the folder of a file, whose name is `name` then.
follows() {
  set -- "$1" "$2" any "$PWD/$1"
  is=$(stat -c '%u %i' -- "./$1") && to=$(readlink -- "./$1") && [ "$(stat -c '%u %i' -- "./$1")" = "$is" ] || refuse "$4"
  trusted || [ "${is%% *}" = 0 ] || [ "${is%% *}" = "$me" ] || set -- "$1" "$2" "${is%% *}" "$4"
  case $2:$to in
    folder:*) walk "$to" $((depth + 1)) || return 1 ;;
    *:/*) walk "${to%/*}/" $((depth + 1)) || return 1; name=${to##*/} ;;
    *:*/*) walk "${to%/*}" $((depth + 1)) || return 1; name=${to##*/} ;;
    *) name=$to ;;
  esac
  [ "$3" = any ] || [ "$(stat -c %u .)" = "$3" ] || refuse "$4"
}
# down NAME DEPTH: enters a folder of the working one.
down() {
  if [ -L "./$1" ]; then
    depth=$2
    follows "$1" folder
  else
    set -- "$1" "$(stat -c %d:%i .)" "$PWD/$1"
    cd -P -- "./$1" 2>/dev/null || return 1
    [ "$(stat -c %d:%i ..)" = "$2" ] || refuse "$3"
  fi
}
# walk PATH DEPTH: enters a folder, one name after the other.
walk() {
  [ "$2" -lt 40 ] || fail "\`$1\`: there are too many links"
  case $1 in /*) cd / ;; esac
  set -- "$1/" "$2"
  while [ -n "$1" ]; do
    set -- "${1#*/}" "$2" "${1%%/*}"
    case $3 in
      '' | .) ;;
      ..) cd -P .. || return 1 ;;
      *) down "$3" "$2" || return 1 ;;
    esac
  done
}
# make FOLDER: enters a folder; what is missing on the way is made, and gets its attributes from `dress`.
make() {
  set -- "$1/"
  case $1 in /*) cd / ;; *) cd -- "$start" ;; esac
  while [ -n "$1" ]; do
    set -- "${1#*/}" "${1%%/*}"
    case $2 in
      '' | .) ;;
      ..) cd -P .. || exit 1 ;;
      *)
        if [ -e "./$2" ] || [ -L "./$2" ]; then
          down "$2" 0 || fail "\`$(pwd)/$2\` cannot be entered"
        else
          mkdir -- "./$2" && down "$2" 0 && dress || exit 1
        fi ;;
    esac
  done
}
# enter FOLDER: the working folder is that folder.
enter() {
  if cd -P -- "$1" 2>/dev/null && [ "$(pwd -P)" = "$1" ]; then return 0; fi
  cd -- "$start" && walk "$1" 0 || fail "the folder \`$1\` cannot be entered"
}
# reach FOLDER NAME FOLLOW: the working folder is the one that holds the file, and `name` its name there.
reach() {
  enter "$1"
  name=$2; depth=0
  while [ -n "$3" ] && [ -L "./$name" ]; do
    [ "$depth" -lt 40 ] || fail "\`$1/$2\`: there are too many links"
    follows "$name" file || fail "the link \`$1/$2\` leads nowhere"
    depth=$((depth + 1))
  done
}
# private: the working folder is a new one in the present one that only we can enter; it is gone at the end.
private() {
  umask 077
  if trusted; then safe=1; else safe=; fi
  here=$(stat -c %d:%i .)
  temp=$(mktemp -d ./.infra.XXXXXXXXXX) || exit 1
  trap 'exit 1' HUP INT TERM
  trap 'rc=$?; [ "$(stat -c %d:%i ..)" != "$here" ] || { rm -rf -- ./* ./.[!.]*; cd .. && rmdir -- "$temp"; } 2>/dev/null; exit $rc' EXIT
  cd -P -- "$temp" && [ "$(stat -c %d:%i ..)" = "$here" ] || { trap - EXIT; fail "\`$temp\` was replaced by another user"; }
  [ -n "$safe" ] || case $(stat -c '%u %a' .) in "$me 700" | "$me 2700") ;; *) trap - EXIT; fail "\`$temp\` was replaced by another user" ;; esac
}
# fresh: `new` is a new file like those that this user makes.
fresh() {
  [ ! -g .. ] || chgrp -- "$(id -g)" ./new || exit 1
  chmod "$(printf %04o $((0666 & ~mask)))" ./new || exit 1
}
# as_before: `new` has the further attributes of the file that it replaces.
as_before() {
  [ ! -f "../$name" ] || [ -L "../$name" ] || cp --attributes-only --preserve=xattr -- "../$name" ./new 2>/dev/null || :
}
# keep: the present file is kept under another name, which is printed.
keep() {
  [ -e "../$name" ] || return 0
  base=$name.$$.$(date +%Y-%m-%d@%H:%M:%S) old=$base~ count=1
  # One of the same second stays.
  while [ -e "../$old" ] || [ -L "../$old" ]; do count=$((count + 1)); old=$base.$count~; done
  cp -a -- "../$name" ./old && mv -fT -- ./old "../$old" || exit 1
  printf 'backup %s/%s\n' "$(cd .. && pwd)" "$old"
}
# replace: `new` takes the place of the file.
replace() {
  mv -fT -- ./new "../$name" || exit 1
  report "../$name"
}
# report PATH: one line about a file.
report() {
  stat -c '%a|%u|%g|%U|%G|%s|%Y|%X|%Z|%i|%h|%d|%f|' -- "$1" 2>/dev/null || :
}
# hold: `held` names the file so that no one else can put another one in its place.
hold() {
  if [ -L "./$name" ]; then held=./$name
  elif [ -d "./$name" ]; then
    here=$(stat -c %d:%i .)
    cd -P -- "./$name" && [ "$(stat -c %d:%i ..)" = "$here" ] || refuse "$PWD"
    held=.
  elif trusted; then held=./$name
  else
    private
    ln -P -- "../$name" ./held || exit 1
    [ ! -L ./held ] || refuse "$name"
    held=./held
  fi
}
# opens: file 8 is the file `name` of the working folder, open for reading.
opens() {
  [ -f "./$name" ] || fail "\`$PWD/$name\` is not a file"
  exec 8<"./$name" || exit 1
  [ "$(stat -L -c %d:%i /proc/self/fd/8)" = "$(stat -c %d:%i -- "./$name")" ] || refuse "$PWD/$name"
}
# source_file FOLDER NAME: file 8 is that file, open for reading. A link is followed as everywhere, and one of another user to what is
# not theirs is an error: what is ours is not published for them.
source_file() {
  reach "$1" "$2" follow
  opens
  cd -- "$start"
}
# copy_folder SOURCE TARGET KEEP: the files of a folder that TARGET lacks, or has with other content or attributes, are copied into it;
# with KEEP only those that it lacks. `finish` gives `new` its attributes, `dress` a folder that is made, and `settle` and `settle_folder`
# what is there already; `settled FILE SOURCE` says whether a file has them. Both folders are held open, as files 7 and 6.
copy_folder() {
  enter "$1"
  exec 7<.
  source=$(pwd -P)
  cd -- "$start"
  make "$2"
  exec 6<.
  start=/proc/self/fd/6/.
  ( cd -P /proc/self/fd/7/. && find . -type d ) | while IFS= read -r folder; do
    ( make "$folder" && settle_folder ) || exit 1
  done || exit 1
  ( cd -P /proc/self/fd/7/. && find . -type f -o -type l ) | while IFS= read -r file; do
    if [ -e "./$file" ] || [ -L "./$file" ]; then
      [ -z "$3" ] || continue
      # To look is no danger, wherever a link leads.
      if [ -L "$source/$file" ]; then [ "$(readlink -- "./$file")" = "$(readlink -- "$source/$file")" ]
      else [ ! -L "./$file" ] && cmp -s -- "$source/$file" "./$file"
      fi && settled "./$file" "$source/$file" && continue
    fi
    ( copy_entry "${file%/*}" "${file##*/}" ) >/dev/null || exit 1
  done
}
# copy_entry FOLDER NAME: what has this name in the source folder comes into the same folder of the target.
copy_entry() {
  cd -P /proc/self/fd/7/. && walk "$1" 0 || fail "\`$source/$1\` cannot be entered"
  name=$2 link=
  if [ -L "./$name" ]; then link=$(readlink -- "./$name"); else opens; fi
  cd -P /proc/self/fd/6/. && walk "$1" 0 || fail "\`$1\` cannot be entered"
  if [ -n "$link" ]; then
    [ "$(readlink -- "./$name")" = "$link" ] || ( private; ln -s -- "$link" ./new && mv -fT -- ./new "../$name" ) || exit 1
  elif [ -L "./$name" ] || ! cmp -s -- /proc/self/fd/8 "./$name"; then
    private
    cat <&8 >./new || exit 1
    fresh
    if [ -f "../$name" ] && [ ! -L "../$name" ]; then
      as_before
      chown -h --reference="../$name" ./new 2>/dev/null || :
      chmod --reference="../$name" ./new || exit 1
    fi
    finish
    replace
    return
  fi
  hold
  settle
}
