# PATH MARK: prints the directory as a tar archive, then the mark.
need tar
path=$1 mark=$2
directory "$path"
printf 'S\n'
guarded tar -c -f - -C "$path" .
