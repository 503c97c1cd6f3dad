# PATH MODE TRAILER MARK TAG: takes the file's bytes and behind them a trailer of TRAILER bytes, `MARK SIZE`; prints the
# new file's facts and 1 if it is new, else 0. Without the trailer nothing is kept. With a TAG the file must still be that one.
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

stage "${path%/*}"
cat <&4 >"$staged" || fail tool
size=$(stat -c %s -- "$staged") || fail tool
((size >= trailer)) || fail broken
((size -= trailer))
[[ $(tail -c "$trailer" -- "$staged" 2>/dev/null) == "$mark $(printf %019d "$size")" ]] || fail broken
dd if=/dev/null of="$staged" bs=1 seek="$size" count=0 2>/dev/null || fail tool
if [[ $mode ]]; then chmod "$mode" -- "$staged" || fail tool; fi
if [[ $tag ]]; then
  facts "$path"
  [[ ${REPLY##* } == "$tag" ]] || fail changed
fi
[[ -d $path ]] && fail is_directory
created=1
[[ -e $path ]] && created=0
rename "$staged" "$path" || fail tool
staged= made=()
facts "$path"
printf 'S %s %s\n' "$REPLY" "$created"
