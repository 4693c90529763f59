# shellcheck shell=bash
# Processes that outlive the command, known by files that hold their pid and when it began:
# a pid that was given to somebody else since then never matches.

STARTED=()                                      # by this call

# Starts a process unless it runs. In a session of its own: an interrupt at the terminal is not
# for it; and without our locks.
daemon() { # NAME COMMAND...
    local name=$1
    shift
    ! pid_of "$name" >/dev/null || return 0
    setsid "$@" >>"$LOGS/$name.log" 2>&1 </dev/null 7<&- 8<&- 9<&- &
    echo "$! $(began "$!")" >"$STATE/run/$name.pid"
    STARTED+=("$name")
}

stop() { # NAME...
    local name pid i
    for name in "$@"; do
        pid=$(pid_of "$name") || continue
        kill -KILL "$pid" 2>/dev/null || true
    done
    for name in "$@"; do
        for ((i = 0; i < 200; i++)); do
            pid_of "$name" >/dev/null || break
            sleep 0.05
        done
        ! pid_of "$name" >/dev/null || die "$name does not end"
        rm -f "$STATE/run/$name.pid"
    done
}

# Its pid, unless it has ended.
pid_of() { # NAME
    local pid began
    read -r pid began 2>/dev/null <"$STATE/run/$1.pid" || return 1
    [[ -n $began && $(began "$pid") == "$began" ]] || return 1
    echo "$pid"
}

# When a process began, in ticks; nothing for a zombie, which only waits to be forgotten.
began() { # PID
    awk '{ sub(/^.*\) /, ""); if ($1 != "Z") print $20 }' "/proc/$1/stat" 2>/dev/null
}

# Waits for a condition, as long as all that this call started is there.
wait_for() { # SECONDS WHAT COMMAND...
    local limit=$1 what=$2 deadline=$((SECONDS + $1)) name
    shift 2
    until "$@" >/dev/null 2>&1; do
        for name in "${STARTED[@]}"; do
            pid_of "$name" >/dev/null || die "$name has ended: $(tail -n 3 "$LOGS/$name.log")"
        done
        ((SECONDS < deadline)) || die "$what: not within $limit s; the logs are in $LOGS"
        sleep 0.1
    done
}

# Locks are on folders, and last as long as the call.
lock() { # DESCRIPTOR FOLDER [--shared]
    local descriptor=$1 folder=$2
    while true; do
        [[ ${3:-} == --shared ]] || mkdir -p "$folder"
        [[ -d $folder ]] || die "there is no cluster $CLUSTER: start it with $HERE/cluster up"
        eval "exec $descriptor<\"\$folder\""
        if ! flock --nonblock "${@:3}" "$descriptor"; then
            say "another call is busy with $folder: waiting"
            flock "${@:3}" "$descriptor"
        fi
        # Who had it may have removed the folder.
        [[ ! $folder -ef /proc/self/fd/$descriptor ]] || return 0
    done
}
unlock() { eval "exec $1<&-"; }                 # DESCRIPTOR
lock_machine() { lock 7 "$CLUSTERS"; }
lock_cluster() { lock 9 "$STATE" "$@"; }
