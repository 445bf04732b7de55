//! The promises of every job's sandbox, each with the script that tests it. A new flag in
//! `executor/docker/create.rs` gets a row here; docs/security.md lists them by name.

use super::Promise;

/// The common part of the scripts.
pub(super) const COMMON: &str = "\
sandbox=/orchestra/orchestra-sandbox
first() { local file; for file; do [ -r \"/sys/fs/cgroup/$file\" ] && { cat \"/sys/fs/cgroup/$file\"; return; }; done; echo unknown; }
";

pub(crate) const PROMISES: &[Promise] = &[
    Promise {
        name: "user",
        says: "it runs as an ordinary user with one group, real, effective, saved and of files",
        script: "while read -r key ids; do case $key in [UG]id:) echo $ids;; esac; done < /proc/self/status; id -G",
        answer: |held| {
            let ids = |id: u32| [id; 4].map(|id| id.to_string()).join(" ");
            format!("{}\n{}\n{}", ids(held.held_to.user.uid), ids(held.held_to.user.gid), held.held_to.user.gid)
        },
    },
    Promise {
        name: "capabilities",
        says: "it has none, and none can be inherited, gained or kept",
        script: "while read -r key set; do case $key in Cap*) echo $key $set;; esac; done < /proc/self/status",
        answer: |_| {
            let sets = ["Inh", "Prm", "Eff", "Bnd", "Amb"];
            sets.map(|set| format!("Cap{set}: 0000000000000000")).join("\n")
        },
    },
    Promise {
        name: "no new privileges",
        says: "set-uid programs give it nothing",
        script: "grep NoNewPrivs: /proc/self/status | tr -d ' \\t'",
        answer: |_| "NoNewPrivs:1".to_owned(),
    },
    Promise {
        name: "seccomp",
        says: "its system calls are filtered",
        script: "grep Seccomp: /proc/self/status | tr -d ' \\t'",
        answer: |_| "Seccomp:2".to_owned(),
    },
    Promise {
        name: "system calls",
        says: "namespaces, mounts, keyrings, BPF, io_uring, odd sockets, tracing and slowing PID 1: all refused",
        script: "$sandbox --attempt | grep -v ': refused$'",
        answer: |_| "that is all".to_owned(),
    },
    Promise {
        name: "mounts",
        says: "it sees worker-files, the sandbox's program, a /tmp and a /dev/shm of its own, and the image read-only",
        script: "while read -r _ _ _ _ point options _; do
  case $point in /proc|/proc/*|/sys|/sys/*|/dev|/dev/pts|/dev/mqueue) continue;; esac
  flags=${options%%,*}
  case $point in /tmp|/dev/shm) for flag in nosuid nodev; do [[ ,$options, = *,$flag,* ]] && flags+=\" $flag\"; done;; esac
  case $point:$flags in /etc/resolv.conf:ro|/etc/hostname:ro|/etc/hosts:ro) continue;; esac
  echo \"$point: $flags\"
done < /proc/self/mountinfo | sort",
        answer: |_| {
            "/: ro\n/dev/shm: rw nosuid nodev\n/orchestra: ro\n/tmp: rw nosuid nodev\n/work: rw".to_owned()
        },
    },
    Promise {
        name: "writable places",
        says: "worker-files, /tmp, /dev/shm and message queues of its own, and nothing else",
        script: "for place in /work /tmp /dev/shm; do [ -w $place ] && echo $place; done
find / \\( -path /proc -o -path /sys -o -path /work -o -path /tmp -o -path /dev/shm -o -path /dev/mqueue \\) -prune -o ! -type l ! -type c -writable -print 2> /dev/null
find /sys /proc/sys /proc/irq /proc/bus /proc/fs ! -type l -writable -print 2> /dev/null
for place in / /etc /usr /var/tmp /root /home /orchestra /run; do touch $place/orchestra-probe 2> /dev/null && echo $place; done; true",
        answer: |_| "/work\n/tmp\n/dev/shm".to_owned(),
    },
    Promise {
        name: "size of /tmp and /dev/shm",
        says: "both are bounded, and count as its memory",
        script: "for place in /tmp /dev/shm; do df -k --output=size $place | tail -n 1 | tr -d ' '; done; df --output=itotal /tmp | tail -n 1 | tr -d ' '",
        answer: |held| {
            let tmp = held.held_to.limits.tmp.0;
            format!("{}\n{}\n{}", tmp >> 10, 64 << 10, (tmp >> 12).max(1024))
        },
    },
    Promise {
        name: "masked paths",
        says: "what the kernel tells of the machine is hidden",
        script: "for path in /proc/kcore /proc/keys /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/latency_stats /proc/acpi /proc/scsi /sys/firmware; do
  [ -e $path ] || continue
  if [ -d $path ]; then [ -z \"$(ls -A $path 2> /dev/null)\" ]; else [ -z \"$(head -c 1 $path 2> /dev/null | tr '\\0' x)\" ]; fi || echo \"$path can be read\"
done; echo looked",
        answer: |_| "looked".to_owned(),
    },
    Promise {
        name: "read-only paths",
        says: "what steers the machine cannot be written to",
        script: "for path in /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger /sys; do
  [ -e $path ] || continue
  grep -q \" $path ro[, ]\" /proc/self/mountinfo || echo \"$path is not read-only\"
  [ -f $path ] && { echo h > $path; } 2> /dev/null && echo \"$path can be written to\"
done
{ echo x > /proc/sys/kernel/hostname; } 2> /dev/null && echo 'the kernel can be set'; echo looked",
        answer: |_| "looked".to_owned(),
    },
    Promise {
        name: "devices",
        says: "null, zero, full, random, urandom, tty and ptmx, no disk and no other",
        script: "find /dev \\( -type b -o -type c \\) 2> /dev/null | grep -vxE '/dev/(null|zero|full|random|urandom|tty|ptmx|pts/ptmx)'
mknod /tmp/orchestra-probe b 8 0 2> /dev/null && echo 'made one'; echo looked",
        answer: |_| "looked".to_owned(),
    },
    Promise {
        name: "network",
        says: "a loopback of its own, and no route",
        script: "while IFS=: read -r name rest; do [ -n \"$rest\" ] && echo $name; done < <(tail -n +3 /proc/net/dev)
tail -n +2 /proc/net/route; grep -v ' lo$' /proc/net/ipv6_route 2> /dev/null; true",
        answer: |_| "lo".to_owned(),
    },
    Promise {
        name: "addresses",
        says: "metadata services, the bridge's gateway, engines on the network and the master are out of reach",
        script: "$sandbox --connect 169.254.169.254:80 '[fd00:ec2::254]:80' 172.17.0.1:22 172.17.0.1:2375 192.168.65.7:2375 $master | grep -v ': out of reach$'; echo tried",
        answer: |_| "tried".to_owned(),
    },
    Promise {
        name: "memory",
        says: "it is bounded",
        script: "first memory.max memory/memory.limit_in_bytes",
        answer: |held| held.held_to.limits.memory.0.to_string(),
    },
    Promise {
        name: "swap",
        says: "there is none beside the memory",
        script: "limit=$(first memory/memory.limit_in_bytes); both=$(first memory/memory.memsw.limit_in_bytes)
if [ $both != unknown ]; then echo $((both - limit)); elif [ $(wc -l < /proc/swaps) -le 1 ]; then echo 0; else first memory.swap.max; fi",
        answer: |_| "0".to_owned(),
    },
    Promise {
        name: "processors",
        says: "its share is bounded",
        script: "quota=$(first cpu.max); [ \"$quota\" = unknown ] && quota=\"$(first cpu/cpu.cfs_quota_us) $(first cpu/cpu.cfs_period_us)\"; echo $quota",
        answer: |held| format!("{} 100000", (held.held_to.limits.cpus * 100_000.0) as u64),
    },
    Promise {
        name: "number of processes",
        says: "it is bounded",
        script: "first pids.max pids/pids.max",
        answer: |held| held.held_to.limits.pids.to_string(),
    },
    Promise {
        name: "limits of a process",
        says: "1024 descriptors, no core dumps, and no file that is too large",
        script: "ulimit -Hn; ulimit -Sn; ulimit -Hc; ulimit -Hf",
        answer: |held| format!("1024\n1024\n0\n{}", held.held_to.file_size >> 10),
    },
    Promise {
        name: "short memory",
        says: "the kernel ends the job before PID 1, and both before the machine's own programs",
        script: "cat /proc/self/oom_score_adj",
        answer: |_| "1000".to_owned(),
    },
    Promise {
        name: "processes",
        says: "it sees PID 1 and its own",
        script: "for process in /proc/[0-9]*; do
  read -r stat 2> /dev/null < $process/stat || continue
  set -- ${stat##*) }; [ $4 = $$ ] || echo \"${process#/proc/} $(cat $process/comm)\"
done",
        answer: |_| "1 orchestra-sandb".to_owned(),
    },
    Promise {
        name: "PID 1",
        says: "it can be neither looked into nor ended nor stopped",
        script: "for file in environ mem exe fd/0 fd/1 auxv maps; do { head -c 1 /proc/1/$file > /dev/null; } 2> /dev/null && echo \"$file can be read\"; done
for signal in KILL STOP TERM INT HUP SEGV; do kill -$signal 1; done 2> /dev/null
grep -qE '^State:.[RS]' /proc/1/status && echo alive",
        answer: |_| "alive".to_owned(),
    },
    Promise {
        name: "sockets",
        says: "no socket of the machine's, the engine's least of all",
        script: "tail -n +2 /proc/net/unix; find / -xdev -type s 2> /dev/null
for path in /var/run/docker.sock /run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock; do [ -e $path ] && echo $path; done; echo looked",
        answer: |_| "looked".to_owned(),
    },
    Promise {
        name: "shared memory of processes",
        says: "it has its own, and sees nobody else's",
        script: "for kind in msg sem shm; do tail -n +2 /proc/sysvipc/$kind; done; ls -A /dev/shm /dev/mqueue | grep -vE ':|^$'; echo looked",
        answer: |_| "looked".to_owned(),
    },
    Promise {
        name: "environment",
        says: "nothing of the worker's or the engine's",
        script: "env | cut -d = -f 1 | grep -E '^(ORCHESTRA|DOCKER|CARGO|SSH|AWS)' | sort",
        answer: |_| "ORCHESTRA_ATTEMPT\nORCHESTRA_JOB_ID".to_owned(),
    },
    Promise {
        name: "host name",
        says: "it is the same for every job, and not the machine's",
        script: "cat /proc/sys/kernel/hostname",
        answer: |_| "orchestra".to_owned(),
    },
    Promise {
        name: "descriptors",
        says: "three, none of them a terminal, and none of the engine's",
        script: "ls /proc/$$/fd | grep -vx 255; { [ -t 0 ] || [ -t 1 ] || [ -t 2 ]; } && echo 'a terminal'; { : > /dev/console; } 2> /dev/null && echo 'a console'; true",
        answer: |_| "0\n1\n2".to_owned(),
    },
];
