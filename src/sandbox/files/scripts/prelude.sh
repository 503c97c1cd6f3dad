# What runs in the sandbox for file operations: bash with the image's own tools, in forms that busybox understands too.
#
# A script prints one line first: `S FACTS`, or `E KIND DETAIL` and ends; why is then on stderr, in C-locale words.
# Values come as arguments, never as script text. Descriptor 4 is the connection: its end says that the server has
# gone or has all it wanted, so no process outlives a broken transfer. The system's tools come first in PATH: what the
# sandbox's user has put into a directory of its own under the name of `cat` is no reader of files.
export LC_ALL=C TZ=UTC0 PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
umask 022
exec 3</dev/null 4<&0 </dev/null

fail() {
  local words="$*"
  words=${words//[^ -~]/?}
  printf 'E %s\n' "${words:0:300}"
  exit 3
}

# A tool that the image has not is a busybox's, where one is mounted beside this bash.
need() {
  local tool
  for tool; do
    type -P "$tool" >/dev/null && continue
    [[ -x /opt/berth/busybox ]] || fail missing "$tool"
    eval "$tool() { /opt/berth/busybox $tool \"\$@\"; }"
  done
}

# REPLY: mode in hex, size, mtime, and a tag that changes whenever the file does.
facts() {
  REPLY=$(stat -L -c '%f %s %Y %i %z' -- "$1") || fail tool
  set -- $REPLY
  REPLY="$1 $2 $3 $4-$2-${5//[!0-9]/}${6//[!0-9]/}"
}

# PATH: fails unless it is a directory that can be read.
directory() {
  if [[ ! -d $1 ]]; then
    [[ -e $1 ]] && fail not_directory
    need stat
    facts "$1"
  fi
  [[ -r $1 && -x $1 ]] || fail denied
}

# DIRECTORY ROOT: fails if ROOT is that directory or in it, by whatever names.
keep() {
  local place=$2
  while :; do
    [[ $place/ -ef $1/ ]] && fail root
    [[ $place ]] || return 0
    place=${place%/*}
  done
}

# DIRECTORY: makes it where it is missing, and a name in it that nobody else has, $staged, of this process and $mark.
# Whatever is under that name, and the directories made, are gone again at the end unless `made` and the name are
# emptied; so is what killed transfers left: what has such a name, of a process that is no more.
stage() {
  local missing=$1 old
  made=() staged=
  trap undo EXIT
  trap 'exit 1' HUP INT TERM PIPE
  while [[ $missing && ! -e $missing && ! -L $missing ]]; do
    made+=("$missing")
    missing=${missing%/*}
  done
  [[ -e $missing && ! -d $missing ]] && fail under "${missing##*/}"
  [[ -d $1/ ]] || mkdir -p -- "$1" || fail tool
  for old in "$1"/.berth-upload-*; do
    [[ ${old##*/} =~ ^\.berth-upload-([0-9]+)-[0-9a-f]{32}$ && ! -e /proc/${BASH_REMATCH[1]} ]] && rm -rf -- "$old"
  done
  staged=$1/.berth-upload-$$-$mark
}

# FROM TO: never into a directory, also with an mv that has no -T.
rename() { mv -f -T -- "$1" "$2" 2>/dev/null || { [[ ! -d $2 ]] && mv -f -- "$1" "$2"; }; }

undo() {
  local one
  [[ $staged ]] && rm -rf -- "$staged"
  for one in "${made[@]}"; do rmdir -- "$one"; done
} 2>/dev/null

# Runs a command, its stdin descriptor 3, until it ends or the server goes. Prints $mark and the exit code behind its
# output, then stays until the server has read everything: an exec that ends before its reader blocks other execs.
guarded() {
  local job watch code
  set -m
  "$@" <&3 &
  job=$!
  { read -r -n 1 -u 4; kill -- "-$job"; } >/dev/null 2>&1 &
  watch=$!
  set +m
  wait "$job"
  code=$?
  kill -- "-$watch"
  wait "$watch"
  printf '%s%03d' "$mark" "$code"
  read -r -n 1 -u 4
}
