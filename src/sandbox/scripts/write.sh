# PATH MODE TRAILER MARK TAG: takes the file's bytes and behind them a trailer of TRAILER bytes, `MARK SIZE`; prints the
# new file's facts. Without the trailer nothing is kept. With a TAG the file must still be that one.
need stat cat mkdir rmdir mv rm tail dd chmod readlink
path=$1 mode=$2 trailer=$3 mark=$4 tag=$5

if [[ -L $path ]]; then
  path=$(readlink -f -- "$path" && printf x)
  path=${path%?x}
  [[ $path ]] || fail dangling
fi
[[ -d $path ]] && fail is_directory
[[ -e $path && ! -f $path ]] && fail special
[[ -e $path && ! -w $path ]] && fail denied
if [[ ! $mode && -e $path ]]; then mode=$(stat -c %a -- "$path") || fail tool; fi

directory=${path%/*} made=() temporary=
undo() {
  [[ $temporary ]] && rm -f -- "$temporary"
  for directory in "${made[@]}"; do rmdir -- "$directory"; done
} 2>/dev/null
trap undo EXIT
trap 'exit 1' HUP INT TERM PIPE

missing=$directory
while [[ $missing && ! -e $missing && ! -L $missing ]]; do
  made+=("$missing")
  missing=${missing%/*}
done
[[ -d $directory/ ]] || mkdir -p -- "$directory" || fail tool

# What a killed upload left behind.
for old in "$directory"/.berth-upload-*; do
  [[ -f $old && ${old##*-} =~ ^[0-9]+$ ]] && ! kill -0 "${old##*-}" && rm -f -- "$old"
done 2>/dev/null

set -C
: >"$directory/.berth-upload-$$" || fail tool
set +C
temporary=$directory/.berth-upload-$$
cat <&4 >"$temporary" || fail tool
size=$(stat -c %s -- "$temporary") || fail tool
((size >= trailer)) || fail broken
((size -= trailer))
[[ $(tail -c "$trailer" -- "$temporary" 2>/dev/null) == "$mark $(printf %019d "$size")" ]] || fail broken
dd if=/dev/null of="$temporary" bs=1 seek="$size" count=0 2>/dev/null || fail tool
if [[ $mode ]]; then chmod "$mode" -- "$temporary" || fail tool; fi
if [[ $tag ]]; then
  facts "$path"
  [[ ${REPLY##* } == "$tag" ]] || fail changed
fi
[[ -d $path ]] && fail is_directory
mv -f -T -- "$temporary" "$path" || fail tool
temporary= made=()
facts "$path"
printf 'S %s\n' "$REPLY"
