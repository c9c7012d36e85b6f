# Compares and unpacks archives. `archive` is its path, `options` and `keep_newer` are given to the program that unpacks it.
# `zip` says whether it is a ZIP file, where that is known.
is_zip() {
  [ -n "$zip" ] || case $(head -c 2 -- "$archive" 2>/dev/null) in PK) zip=yes ;; *) zip=no ;; esac
  [ "$zip" = yes ]
}
# names: what the archive holds, one name a line.
names() {
  if is_zip; then unzip -Z1 "$archive"; else tar -t -f "$archive" --quoting-style=literal --show-transformed-names "$@" 2>/dev/null; fi
}
# compare OPTIONS...: prints `same` or `differs`, from within the folder; `ignored` are differences that do not matter.
compare() {
  if is_zip; then
    names | while IFS= read -r entry; do
      case $entry in
        */) [ -d "./$entry" ] || exit 1 ;;
        *) unzip -p "$archive" "$(printf %s "$entry" | sed 's/[][*?\\]/\\&/g')" | cmp -s - "./$entry" || exit 1 ;;
      esac
    done && echo same || echo differs
    return 0
  fi
  out=$(LC_ALL=C tar --compare -f "$archive" "$@" 2>&1); rc=$?
  [ "$rc" -le 1 ] || { printf '%s\n' "$out" >&2; exit 1; }
  kinds='Mod time|Size|File type|Device number'
  if [ "$(id -u)" = 0 ]; then
    [ -n "$owner" ] || kinds="$kinds|Uid"
    [ -n "$group" ] || kinds="$kinds|Gid"
  fi
  [ -n "$mode" ] || kinds="$kinds|Mode"
  if printf '%s\n' "$out" | grep -qE ": (($kinds) differs|Contents differ|Symlink differs|Not linked to .*|Warning: Cannot stat: No such file or directory)\$"
  then echo differs; else echo same; fi
}
# owners OPTIONS...: a line for each owner and mode among what the archive holds.
owners() {
  names "$@" | tr '\n' '\0' | xargs -0 -r stat -c 'own:%u|%U|%g|%G|%a|%f' -- 2>/dev/null | sort -u
}
# unpack OPTIONS...: unpacks the archive where it differs, and gives what it holds its attributes; says `changed`.
unpack() {
  state=$(compare "$@") || exit 1
  if [ "$state" = differs ]; then
    if is_zip; then unzip -o -q "$@" "$archive"; else tar -x -f "$archive" $keep_newer "$@"; fi || exit 1
    echo changed
  fi
  who=$owner${group:+:$group}
  [ -z "$who" ] || each chown -hc -- "$who" "$@"
  [ -z "$mode" ] || each chmod -c -- "$mode" "$@"
}
# each PROGRAM FLAG -- WHAT OPTIONS...: runs a program on what the archive holds, chmod not on links; says `changed`.
each() {
  program=$1; flag=$2; what=$4
  shift 4
  said=$(
    names "$@" | tr '\n' '\0' |
      xargs -0 -r sh -c 'program=$1; shift; for f do [ "$program" = chmod ] && [ -L "./$f" ] || printf "%s\\0" "./$f"; done' sh "$program" |
      xargs -0 -r "$program" "$flag" -- "$what"
  ) || exit 1
  [ -z "$said" ] || echo changed
}
