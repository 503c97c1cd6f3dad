# PATH DEPTH MARK WRITABLE FOLLOW: prints `S w` where the user may write PATH, else `S -`; then records, each
# `TYPE SIZE MTIME MODE PATH NUL TARGET NUL`, with WRITABLE behind a `w` or `-`, with FOLLOW of what links lead to; then the mark.
need find
path=$1 depth=$2 mark=$3 writable=$4 follow=$5
directory "$path"
flag=() way=-P real=()
[[ $writable ]] && flag=('(' -writable -printf w -o -printf - ')')
[[ $follow ]] && way=-L real=('!' -type l)

walk() {
  find "$way" "$path/" -mindepth 1 -maxdepth "$depth" "${real[@]}" "${flag[@]}" -printf '%y %s %T@ %m %P\0%l\0' 2>/dev/null
}

# A find without -printf: names go to stat in batches; a batch in which a file vanished is asked name by name.
walk_plainly() {
  local names lines i
  find "$path/" -mindepth 1 -maxdepth "$depth" -print0 2>/dev/null |
    while mapfile -d '' -n 256 names && ((${#names[@]})); do
      mapfile -t lines < <(stat ${follow:+-L} -c '%f %s %Y' -- "${names[@]}" 2>/dev/null)
      ((${#lines[@]} == ${#names[@]})) || one_by_one
      for i in "${!names[@]}"; do record "${names[i]}" ${lines[i]}; done
    done
}

one_by_one() {
  lines=()
  for i in "${!names[@]}"; do lines[i]=$(stat ${follow:+-L} -c '%f %s %Y' -- "${names[i]}" 2>/dev/null); done
}

# NAME MODE SIZE MTIME
record() {
  local kind=o target= name=${1#"$path/"} flag=
  [[ ${2-} ]] || return
  case $((0x$2 & 0170000)) in
    $((0100000))) kind=f ;;
    $((0040000))) kind=d ;;
    $((0120000))) kind=l target=$(readlink -- "$1") ;;
  esac
  if [[ $writable ]]; then
    flag=-
    [[ -w $1 ]] && flag=w
  fi
  printf '%s%s %s %s %o %s\0%s\0' "$flag" "$kind" "$3" "$4" "$((0x$2 & 07777))" "${name#/}" "$target"
}

if ! find "$path/" -maxdepth 0 -printf '' 2>/dev/null; then
  need stat readlink
  walk() { walk_plainly; }
fi
if [[ -w $path ]]; then printf 'S w\n'; else printf 'S -\n'; fi
guarded walk
