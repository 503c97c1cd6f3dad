# PARENT MARK NAME...: prints what has these names in PARENT as a tar archive, hard links as files, then the mark.
need tar
path=$1 mark=$2
shift 2
names=() flags=()
for name; do
  [[ -e $path/$name || -L $path/$name ]] || fail gone "${#names[@]}"
  names+=("./$name")
done
# GNU tar would take a backslash in a name for an escape.
tar --no-unquote --hard-dereference --version >/dev/null 2>&1 && flags=(--no-unquote --hard-dereference)
printf 'S\n'
guarded tar -c -f - "${flags[@]}" -C "${path:-/}" -- "${names[@]}"
