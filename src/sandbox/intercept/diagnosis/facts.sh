# Tells what bounds this sandbox has met. Runs in a bash that needs nothing of the image; $1 says what to look at.
counter() { # file key name
  [[ -r $1 ]] && while read -r key value; do [[ $key == "$2" ]] && printf '%s\t%s\n' "$3" "$value"; done < "$1"
}
counter /sys/fs/cgroup/memory.events oom_kill oom_kill
counter /sys/fs/cgroup/memory/memory.oom_control oom_kill oom_kill
counter /sys/fs/cgroup/pids.events max pids_max
counter /sys/fs/cgroup/pids/pids.events max pids_max

largest() {
  local most=0 line='' file name key value
  for file in /proc/[0-9]*/status; do
    name=''
    while read -r key value _; do
      [[ $key == Name: ]] && name=$value
      [[ $key == VmRSS: ]] || continue
      if ((value > most)); then most=$value line="${file//[!0-9]/}	$value	$name"; fi
      break
    done 2> /dev/null < "$file"
  done
  [[ $line ]] && printf 'largest\t%s\n' "$line"
}

fill() { # directory
  local _ size used files=0 percent
  { read -r; read -r _ size used _; } < <(df -kP "$1" 2> /dev/null) || return
  { read -r; read -r _ _ _ _ percent _; } < <(df -iP "$1" 2> /dev/null) && files=${percent%\%}
  printf 'fill\t%s\t%s\t%s\t%s\n' "$1" "$size" "$used" "${files//[!0-9]/}"
}

directories() { # directory
  local size path
  while IFS=$'\t' read -r size path; do
    [[ $path == "$1" ]] || printf 'directory\t%s\t%s\n' "$size" "$path"
  done < <(timeout 3 du -xk -d 2 "$1" 2> /dev/null | sort -rn | head -n 6)
}

if [[ $1 == memory ]]; then
  largest
  fill /tmp
else
  fill /workspace
  fill /tmp
  fill /dev/shm
  directories /workspace
fi
