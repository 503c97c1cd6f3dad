# PATH MARK: prints its facts, and ` unsized` where its size is made up, takes a line `OFFSET LENGTH` (no LENGTH: to the end), prints those bytes and the mark.
need stat cat head dd
mark=$2
if [[ -f $1 ]]; then
  exec 3<"$1" || fail tool
  facts /proc/self/fd/3
else
  facts "$1"
fi
# A kernel's file (of procfs, sysfs, cgroups, debugfs, tracefs, securityfs) is made as it is read; its size is 0 or pages.
set -- $REPLY
if (($2 % 4096 == 0)) && [[ -f /proc/self/fd/3 ]]; then
  case $(stat -f -c %t -- /proc/self/fd/3 2>/dev/null) in
    9fa0 | 62656572 | 63677270 | 27e0eb | 64626720 | 74726163 | 73636673) REPLY="$1 0 $3 $4 unsized" ;;
  esac
fi
printf 'S %s\n' "$REPLY"

read -r -u 4 range || exit 0
set -- $range
# Moves the offset that this open file shares with the reader below.
if (($1 > 0)); then dd bs=1 skip="$1" count=0 <&3 2>/dev/null; fi
if [[ ${2-} ]]; then guarded head -c "$2"; else guarded cat; fi
