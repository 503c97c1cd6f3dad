# PATH: makes a directory, and those above it that are missing.
need mkdir
[[ -e $1 || -L $1 ]] && fail exists
mkdir -p -- "$1" || fail tool
printf 'S\n'
