# PATH MARK: prints its facts, takes a line `OFFSET LENGTH` (no LENGTH: to the end), prints those bytes and the mark.
need stat cat head dd
mark=$2
if [[ -f $1 ]]; then
  exec 3<"$1" || fail tool
  facts /proc/self/fd/3
else
  facts "$1"
fi
printf 'S %s\n' "$REPLY"

read -r -u 4 range || exit 0
set -- $range
# Moves the offset that this open file shares with the reader below.
if (($1 > 0)); then dd bs=1 skip="$1" count=0 <&3 2>/dev/null; fi
if [[ ${2-} ]]; then guarded head -c "$2"; else guarded cat; fi
