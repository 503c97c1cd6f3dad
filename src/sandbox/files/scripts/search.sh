# PATH QUERY HIDDEN CONTENT MARK: prints `TYPE PATH NUL` of what is in PATH, one NUL, with CONTENT then `PATH NUL LINE:TEXT
# NEWLINE` of at most three lines a file that hold QUERY in whatever case; then the mark. Large and binary files hold none.
need find
path=$1 query=$2 hidden=$3 content=$4 mark=$5
directory "$path"
[[ $content ]] && need grep xargs
cd -- "$path" || fail denied
hide=()
[[ $hidden ]] || hide=(-name '.?*' -prune -o)

names() { find . -mindepth 1 -maxdepth 64 "${hide[@]}" -printf '%y %P\0'; }
lines() { find . -mindepth 1 -maxdepth 64 "${hide[@]}" -type f -size -1025k -print0 | LC_ALL=C.UTF-8 xargs -0 "${found[@]}"; }
found=(grep -s -F -i -n -H -Z -I -m 3 -e "$query" --)

# For a find and a grep that know neither -printf nor -Z.
names_plainly() {
  local name kind
  find . -mindepth 1 -maxdepth 64 "${hide[@]}" -print0 | while IFS= read -r -d '' name; do
    kind=o
    if [[ -L $name ]]; then kind=l; elif [[ -d $name ]]; then kind=d; elif [[ -f $name ]]; then kind=f; fi
    printf '%s %s\0' "$kind" "${name#./}"
  done
}
lines_plainly() {
  local name line
  find . -mindepth 1 -maxdepth 64 "${hide[@]}" -type f -size -1025k -print0 | while IFS= read -r -d '' name; do
    grep -s -F -i -n -m 3 -e "$query" -- "$name" <&3 | while IFS= read -r line; do printf '%s\0%s\n' "$name" "$line"; done
  done
}

look() {
  names 2>/dev/null
  printf '\0'
  [[ ! $content ]] || lines 2>/dev/null
  return 0
}

find . -maxdepth 0 -printf '' 2>/dev/null || names() { names_plainly; }
[[ ! $content ]] || grep -F -Z -I -e x /dev/null 2>/dev/null
(($? < 2)) || lines() { lines_plainly; }
printf 'S\n'
guarded look
