# PATH: prints the facts of what it leads to.
need stat
facts "$1"
printf 'S %s\n' "$REPLY"
