# PATH MARK: takes a tar archive whose last entry is a file called MARK, unpacks it beside its place and, once that
# entry has come, moves what is there into PATH. A broken archive leaves nothing.
need tar mkdir rmdir mv rm
path=$1 mark=$2
[[ -L $path && ! -e $path ]] && fail dangling
[[ -e $path && ! -d $path ]] && fail not_directory
[[ -d $path && ! -w $path ]] && fail denied
shopt -s dotglob nullglob

# KIND PLACE: fails, naming the place in PATH.
refuse() {
  local name=${2#"$path"}
  fail "$1" "${name#/}"
}

# SOURCE TARGET: neither a file may take a directory's place nor the other way round, and what gets a new entry must
# let itself be written: all that is known before anything is moved.
check() {
  local entry target
  for entry in "$1"/*; do
    target=$2/${entry##*/}
    if [[ -d $entry && ! -L $entry && -d $target ]]; then
      check "$entry" "$target"
    elif [[ -d $target ]]; then
      refuse clash "$target"
    elif [[ -d $entry && ! -L $entry && (-e $target || -L $target) ]]; then
      refuse clash "$target"
    elif [[ ! -w $2 || ! -x $2 ]]; then
      refuse closed "$2"
    fi
  done
}

# SOURCE TARGET
merge() {
  local entry i moved=()
  for entry in "$1"/*; do
    if [[ -d $entry && ! -L $entry && -d $2/${entry##*/} ]]; then
      merge "$entry" "$2/${entry##*/}"
    else
      moved+=("$entry")
    fi
  done
  for ((i = 0; i < ${#moved[@]}; i += 500)); do mv -f -- "${moved[@]:i:500}" "$2/" || fail tool; done
}

if [[ -d $path ]]; then directory=$path; else directory=${path%/*}; fi
stage "$directory"
mkdir -- "$staged" || fail tool
# busybox leaves out links that point elsewhere unless told otherwise; here nothing is ever written through one.
EXTRACT_UNSAFE_SYMLINKS=1 tar -x -o -f - -C "$staged" <&4 >/dev/null || fail tool
[[ -f $staged/$mark ]] || fail broken
rm -f -- "$staged/$mark"
if [[ -d $path ]]; then
  check "$staged" "$path"
  merge "$staged" "$path"
else
  rename "$staged" "$path" || fail tool
fi
made=()
printf 'S\n'
