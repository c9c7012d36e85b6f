# Looks at archives, and changes nothing. `archive` is its path; `owner`, `group` and `mode` are those that are asked for.
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
        *)
          literal=$(printf %s "$entry" | sed 's/[][*?\\]/\\&/g')
          if [ -L "./$entry" ]; then [ "$(unzip -p "$archive" "$literal")" = "$(readlink -- "./$entry")" ]
          else unzip -p "$archive" "$literal" | cmp -s - "./$entry"
          fi || exit 1 ;;
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
