# FROM TO ROOT MARK: prints `S`, then gives what is called FROM the name TO, which nothing may have, and prints the mark.
need stat mv
from=$1 to=$2 root=$3 mark=$4
[[ -e $from || -L $from ]] || stat -- "$from" >/dev/null || fail tool
[[ -L $from || ! -d $from ]] || keep "$from" "$root"
[[ -e $to || -L $to ]] && fail taken
[[ -d ${to%/*}/ ]] || fail no_parent
[[ -w ${to%/*}/ ]] || fail to_closed

# A name that is taken at the last moment makes mv do nothing; only some say so.
into() {
  mv -n -T -- "$from" "$to" || return
  [[ ! -e $from && ! -L $from ]] || { echo 'mv: File exists' >&2 && return 1; }
}
printf 'S\n'
guarded into
