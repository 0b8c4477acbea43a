#!/bin/sh
# check.sh: tell what a box without Python is, for a verdict on another machine.
#
#   sh check.sh > box.dump                           on the old box, as any user
#   applianceforge check --from-dump box.dump        on another machine
#
# Needs a POSIX shell and no other program; what uname, df, od, readlink and date would add is
# named where they are missing. Opens no network connection, writes no file, needs no root (root
# sees which release of VMware it is).
#
#   sh check.sh ROOT     looks at the files below ROOT: a system that is mounted there.
#
# Exit status: 0 if lm is among the processor's flags, so that it can run 64-bit systems; 30 if
# it is not or the flags cannot be read, which alone is no verdict; 2 for wrong arguments; 48 if
# the dump could not be written.
#
# The format is that of `applianceforge check --dump`: docs/dump-format.md.

set -u
LC_ALL=C
export LC_ALL
case ${1-/} in -* | '') set -- '' '' ;; esac
if [ $# -gt 1 ]; then
    echo 'usage: sh check.sh [ROOT] > FILE' >&2
    echo 'ROOT is a directory where another system is mounted; without it: this one' >&2
    exit 2
fi
root=${1-}
if [ -n "$root" ] && [ ! -d "$root" ]; then
    printf 'check.sh: %s is no directory\n' "$root" >&2
    exit 2
fi
root=${root%/}
tab=$(printf '\t')

have() {
    command -v "$1" >/dev/null 2>&1
}

# Set $line to the first line of a file; fail if there is none.
first_line() {
    line=
    [ -r "$root$1" ] && [ ! -d "$root$1" ] || return 1
    { IFS= read -r line <"$root$1"; } 2>/dev/null
    [ -n "$line" ]
}

# Set $trimmed to $1 without blanks at its ends.
trim() {
    trimmed=$1
    while :; do
        case $trimmed in
        ' '* | "$tab"*) trimmed=${trimmed#?} ;;
        *' ' | *"$tab") trimmed=${trimmed%?} ;;
        *) return ;;
        esac
    done
}

# Print KEYWORD and the first line of a file, if there is one.
tell() {
    if first_line "$2"; then
        trim "$line"
        [ -z "$trimmed" ] || printf '%s %s\n' "$1" "$trimmed"
    fi
}

unseen() {
    printf 'unseen %s %s | %s\n' "$1" "$2" "$3"
}

kernel() {
    release=- machine=-
    if first_line /proc/sys/kernel/osrelease; then
        release=$line
    elif [ -z "$root" ] && have uname; then
        release=$(uname -r)
    fi
    if first_line /proc/sys/kernel/arch; then
        machine=$line
    elif [ -n "$root" ]; then
        :
    elif have uname; then
        machine=$(uname -m)
    else
        unseen - 'the kernel' 'uname is not there'
    fi
    printf 'kernel %s %s\n' "$release" "$machine"
    # The class of an ELF file: 1 is 32-bit, 2 is 64-bit.
    if [ ! -r "$root/bin/sh" ]; then
        :
    elif have od; then
        trim "$(od -An -tx1 -N5 "$root/bin/sh" 2>/dev/null)"
        case $trimmed in
        '7f 45 4c 46 01') echo 'userland 32' ;;
        '7f 45 4c 46 02') echo 'userland 64' ;;
        esac
    else
        unseen - 'the width of the programs' 'od is not there'
    fi
    # The rest may hold secrets.
    if first_line /proc/cmdline; then
        switches=
        for word in $line; do
            case $word in
            nolm* | noxsave* | noefi* | clearcpuid=* | ia32_emulation=* | mem=*)
                switches="$switches $word"
                ;;
            esac
        done
        [ -z "$switches" ] || printf 'command-line%s\n' "$switches"
    fi
}

dmi() {
    tell maker /sys/class/dmi/id/sys_vendor
    tell product /sys/class/dmi/id/product_name
    raw=/sys/firmware/dmi/entries/0-0/raw
    [ -e "$root$raw" ] || return 0
    if [ ! -r "$root$raw" ]; then
        unseen root 'where the firmware starts' "$raw: permission denied"
    elif ! have od; then
        unseen - 'where the firmware starts' 'od is not there'
    else
        trim "$(od -An -tx1 -j6 -N2 "$root$raw" 2>/dev/null)"
        case $trimmed in
        [0-9a-f][0-9a-f]' '[0-9a-f][0-9a-f])
            printf 'bios-segment %s%s\n' "${trimmed#* }" "${trimmed% *}"
            ;;
        esac
    fi
}

xen() {
    first_line /sys/hypervisor/type || line=
    [ "$line" = xen ] || [ -d "$root/proc/xen" ] || return 0
    kind=guest
    # Bit 11: this is the first domain; bit 2: paging is not the guest's own, so it is no PV guest.
    if first_line /sys/hypervisor/properties/features; then
        case $line in
        *[!0-9a-fA-F]*) ;;
        *)
            kind=PV
            [ $((0x$line >> 2 & 1)) = 0 ] || kind=HVM
            ;;
        esac
    fi
    features=$line
    if first_line /sys/hypervisor/guest_type; then
        case $line in PV | HVM | PVH) kind=$line ;; esac
    fi
    case $features in
    '' | *[!0-9a-fA-F]*) ;;
    *) [ $((0x$features >> 11 & 1)) = 0 ] || kind=dom0 ;;
    esac
    if first_line /proc/xen/capabilities; then
        case $line in *control_d*) kind=dom0 ;; esac
    fi
    printf 'xen %s\n' "$kind"
}

container() {
    kind=
    if [ -e "$root/proc/vz" ] && [ ! -e "$root/proc/bc" ]; then
        kind=openvz
    elif first_line /proc/sys/kernel/osrelease && case $line in
        *[Mm]icrosoft* | *WSL*) ;;
        *) false ;;
        esac then
        kind=wsl
    elif first_line /run/host/container-manager || first_line /run/systemd/container; then
        trim "$line"
        kind=$trimmed
    elif [ -e "$root/run/.containerenv" ]; then
        kind=podman
    elif [ -e "$root/.dockerenv" ]; then
        kind=docker
    elif [ -r "$root/proc/1/cgroup" ]; then
        while IFS= read -r line; do
            case ${line##*:} in
            *kubepods*) kind=kubernetes ;;
            *docker*) kind=docker ;;
            *libpod*) kind=podman ;;
            *lxc*) kind=lxc ;;
            *machine.slice*) kind=systemd-nspawn ;;
            esac
            [ -z "$kind" ] || break
        done 2>/dev/null <"$root/proc/1/cgroup"
    fi
    unified=$root/sys/fs/cgroup
    if [ -z "$kind" ] && [ -e "$unified/cgroup.controllers" ] && [ -e "$unified/cgroup.events" ]
    then
        kind=other
    fi
    [ -z "$kind" ] || printf 'container %s\n' "$kind"
}

processor() {
    lm=unknown
    [ -r "$root/proc/cpuinfo" ] || {
        unseen - /proc/cpuinfo 'it is not there'
        return
    }
    started=
    while IFS= read -r line; do
        case $line in
        *:*) ;;
        '')
            # The end of the first processor.
            [ -z "$started" ] && continue
            break
            ;;
        *) continue ;;
        esac
        started=yes
        trim "${line%%:*}"
        name=$trimmed
        trim "${line#*:}"
        case $name in
        vendor_id | 'cpu family' | model | 'model name' | stepping | 'address sizes') ;;
        flags)
            lm=no
            case " $trimmed " in *' lm '*) lm=yes ;; esac
            ;;
        *) continue ;;
        esac
        printf 'cpuinfo %s: %s\n' "$name" "$trimmed"
    done 2>/dev/null <"$root/proc/cpuinfo"
}

memory() {
    [ -r "$root/proc/meminfo" ] || return 0
    while read -r name amount unit; do
        case $name$unit in
        MemTotal:kB) printf 'memory %sK\n' "$amount" ;;
        MemAvailable:kB) printf 'memory-available %sK\n' "$amount" ;;
        SwapTotal:kB) printf 'swap %sK\n' "$amount" ;;
        esac
    done 2>/dev/null <"$root/proc/meminfo"
}

firmware() {
    if [ -d "$root/sys/firmware/efi" ]; then
        if first_line /sys/firmware/efi/fw_platform_size; then
            printf 'firmware uefi%s\n' "$line"
        else
            unseen - 'the width of the UEFI firmware' 'the kernel does not tell'
        fi
        return
    fi
    # A container shows an empty directory.
    for entry in "$root"/sys/firmware/*; do
        [ -e "$entry" ] || continue
        echo 'firmware bios'
        return
    done
}

# What is mounted from a disk, each device once.
file_systems() {
    [ -r "$root/proc/mounts" ] || return 0
    if [ -n "$root" ]; then
        unseen - 'file systems' 'they are not mounted as on the box itself'
        return
    elif ! have df; then
        unseen - 'file systems' 'df is not there'
        return
    fi
    # The migrated data go to the mount that these lie on.
    data=/
    for one in /data /var/lib; do
        if [ -d "$one" ]; then
            data=$(cd -P "$one" 2>/dev/null && pwd) || data=$one
            break
        fi
    done
    best='' shown=' ' seen=' '
    while read -r device mount_point kind options _; do
        inside=${mount_point%/}/
        case $data/ in
        "$inside"*) [ ${#mount_point} -lt ${#best} ] || best=$mount_point ;;
        esac
        case $device in /dev/*) ;; *) continue ;; esac
        case $seen in *" $device "*) continue ;; esac
        seen="$seen$device "
        case $mount_point in *\\*)
            unseen - "the file system of $device" 'its path has blanks'
            continue
            ;;
        esac
        case ,$options, in *,ro,*) mode=ro ;; *) mode=rw ;; esac
        errors=-
        shown="$shown$mount_point "
        first_line "/sys/fs/$kind/${device##*/}/errors_count" && errors=$line
        df -kP "$mount_point" 2>/dev/null | {
            read -r _
            read -r _ blocks _ available _
            case ${blocks:-x}${available:-x} in
            *[!0-9]*) ;;
            *)
                printf 'filesystem %s %s %s %s %sK %sK errors=%s recovery=-\n' "$device" \
                    "$mount_point" "$kind" "$mode" "$blocks" "$available" "$errors"
                ;;
            esac
        }
    done 2>/dev/null <"$root/proc/mounts"
    case $shown in *" $best "*) printf 'data %s\n' "$best" ;; esac
}

# Set $label to what a partition is called.
label_of() {
    label=
    for where in by-label by-partlabel; do
        for link in "$root/dev/disk/$where"/*; do
            [ -L "$link" ] || continue
            target=$(readlink "$link")
            if [ "${target##*/}" = "$1" ]; then
                label=" ${link##*/}"
                return
            fi
        done
    done
}

disks() {
    have readlink || unseen - 'the labels of partitions' 'readlink is not there'
    for disk in "$root"/sys/block/*; do
        name=${disk##*/}
        case $name in loop* | ram* | zram* | dm-* | md* | sr* | fd* | nbd* | mtdblock* | drbd*) continue ;; esac
        first_line "/sys/block/$name/size" || continue
        [ "$line" != 0 ] || continue
        printf 'disk %s %sS\n' "$name" "$line"
        for partition in "$disk/$name"*; do
            [ -e "$partition/partition" ] || continue
            first_line "/sys/block/$name/${partition##*/}/size" || continue
            label=
            ! have readlink || label_of "${partition##*/}"
            printf 'partition %s %sS%s\n' "${partition##*/}" "$line" "$label"
        done
    done
}

clock() {
    [ -z "$root" ] || return 0
    now=
    ! have date || now=$(date +%s 2>/dev/null)
    case $now in
    '' | *[!0-9]*) unseen - 'the clock' 'date is not there, or does not tell seconds' ;;
    *) printf 'clock %s unknown\n' "$now" ;;
    esac
}

# What only the check itself looks at.
not_seen() {
    unseen - 'the answers of CPUID' 'check.sh reads /proc/cpuinfo alone'
    unseen - 'the boot loader and the boot environment' 'check.sh does not read disks'
    unseen - 'cluster partners' 'check.sh does not look for them'
    unseen - 'file systems that are not mounted' 'check.sh does not read disks'
}

# Print everything but the last lines; the status is 0 with lm, 30 without, 31 if not known.
facts() {
    echo 'applianceforge-dump 1'
    echo 'by check.sh'
    # Words that only a shell would expand: none of what is read here may be.
    set -f
    kernel
    dmi
    xen
    container
    processor
    memory
    set +f
    firmware
    disks
    set -f
    file_systems
    clock
    not_seen
    case $lm in
    yes) return 0 ;;
    no) return 30 ;;
    *) return 31 ;;
    esac
}

# A subshell for all and one write: a disk that is full is noticed once, not at each line.
status=0
dump=$(facts) || status=$?
case $status in
0) sentence='lm is among the flags: this processor can run 64-bit systems' ;;
30) sentence='lm is not among the flags, which alone does not tell whether it is hidden' ;;
*) sentence='the flags of the processor cannot be read here' ;;
esac
advice='run applianceforge check --from-dump FILE on another machine for the verdict'
# Lines and words below the first line: what gets lost on the way is noticed.
set -f
# shellcheck disable=SC2086
set -- $dump
words=$(($# - 2))
IFS='
'
# shellcheck disable=SC2086
set -- $dump
lines=$(($# - 1))
if ! printf '%s\n# %s; %s\nend %s %s\n' "$dump" "$sentence" "$advice" "$lines" "$words" \
    2>/dev/null; then
    echo 'check.sh: the dump could not be written: is the disk full?' >&2
    exit 48
fi
# On a terminal it stands in the dump already.
[ -t 1 ] || printf '%s; %s\n' "$sentence" "$advice" >&2
[ "$status" = 0 ] || exit 30
