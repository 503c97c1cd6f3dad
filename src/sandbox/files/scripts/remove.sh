# PATH ROOT MODE MARK: prints `S TYPE`, then removes what has that name, never what a link leads to, and prints the mark.
# A directory must be empty unless MODE is `recursive`. Neither ROOT nor what holds it is removed.
need stat rm rmdir
path=$1 root=$2 mode=$3 mark=$4
type=file
if [[ -L $path ]]; then
  type=symlink
elif [[ -d $path ]]; then
  type=directory
elif [[ ! -f $path ]]; then
  type=other
  stat -- "$path" >/dev/null || fail tool
fi
[[ $type == directory ]] && keep "$path" "$root"
printf 'S %s\n' "$type"
if [[ $type != directory ]]; then
  guarded rm -f -- "$path"
elif [[ $mode == recursive ]]; then
  guarded rm -rf -- "$path"
else
  guarded rmdir -- "$path"
fi
