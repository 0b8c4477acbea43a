"""What the messages mean that programs but PostgreSQL give about data of the other width.

A pattern is a regular expression that is searched for in the line after it was made plain:
lower case, every quotation mark as ', every run of spaces as one. The wordings come from

- RRDtool 1.7, src/rrd_open.c; LMDB 0.9, mdb.c (mdb_strerror); GDBM 1.23, gdbmerrno.c;
- Berkeley DB 5.3, src/env/env_region.c; Perl 5.36, dist/Storable/Storable.xs;
- atop 2.8, rawlog.c; Linux, fs/xfs/xfs_log_recover.c.

The sentences are short, for they are read at night.
"""

from __future__ import annotations

from applianceforge.preflight.explanation import SCAN, Explanation, Known, Step

KNOWN = (
    Known(
        Explanation(
            "rrd.architecture",
            "An RRD was written by a program of the other width",
            "The file is whole. RRDtool writes its numbers as they lie in memory, and a 64-bit"
            " RRDtool does not read what a 32-bit one wrote. No measured value is lost.",
            (
                "Do not delete the file to let it be made anew: its history would be gone.",
                "Do not run rrdtool on it again: each try fails the same way.",
            ),
            (
                Step("See what the file holds.", ("applianceforge rrd info FILE",)),
                Step(
                    "Stop what writes the files (collectd, munin, rrdcached), then convert them."
                    " The old files stay as they are.",
                    ("applianceforge rrd convert OLD-DIR NEW-DIR",),
                ),
            ),
            "RRDtool and all that uses it: collectd, munin, Cacti, Nagios",
        ),
        (r"this rrd was created on (?:another|other) architecture",),
        (
            "ERROR: This RRD was created on another architecture",
            "rrdcached[411]: rrd_update_r (/data/rrd/cpu.rrd) failed with status -1. (This RRD was"
            " created on another architecture)",
        ),
    ),
    Known(
        Explanation(
            "lmdb.invalid",
            "An LMDB file was written by a program of the other width",
            "The file is most likely whole. LMDB (used by OpenLDAP and Postfix) keeps numbers as"
            " wide as the program that wrote them. A 64-bit program does not read a 32-bit file.",
            (
                "Do not delete data.mdb: there may be no other copy of what it holds.",
                "Do not restore with slapadd over it before you have an export.",
            ),
            (
                Step(
                    "For OpenLDAP, on the old 32-bit system: write out the configuration"
                    " (cn=config, number 0) and the directory (number 1; there may be more).",
                    ("slapcat -n 0 -l config.ldif", "slapcat -n 1 -l data.ldif"),
                ),
                Step(
                    "For OpenLDAP, on the 64-bit system: load both into empty directories before"
                    " slapd starts, and give the files to its user.",
                    ("slapadd -n 0 -l config.ldif", "slapadd -n 1 -l data.ldif"),
                ),
                Step(
                    "For any other program's file, on the old 32-bit system. Leave -a out if the"
                    " output is empty: the data is then in the main database.",
                    ("mdb_dump -n -a -f data.dump data.mdb",),
                ),
                Step(
                    "For that file, on the 64-bit system: load it where no file is yet.",
                    ("mdb_load -n -f data.dump data.mdb",),
                ),
                SCAN,
            ),
            "LMDB; OpenLDAP's slapd, Postfix",
        ),
        (
            r"mdb_invalid",
            r"file is not an lmdb file",
            r"mdb_version_mismatch",
            r"mdb_.{0,60}database environment version mismatch",
        ),
        (
            'mdb_db_open: database "dc=example,dc=org" cannot be opened: MDB_INVALID: File is not'
            " an LMDB file (-30793). Restore from backup!",
            "MDB_VERSION_MISMATCH: Database environment version mismatch",
        ),
    ),
    Known(
        Explanation(
            "gdbm.header",
            "A GDBM file was written by a program of the other width",
            "The file is most likely whole. The width of a file offset differs between 32-bit and"
            " 64-bit GDBM, so the header seems malformed.",
            (
                "Do not run `recover` in gdbmtool: it would write to a file that it misreads.",
                "Do not delete the file before it was written out on the 32-bit system.",
            ),
            (
                Step("On the old 32-bit system:", ("gdbm_dump FILE FILE.dump",)),
                Step("On the 64-bit system:", ("gdbm_load FILE.dump FILE",)),
                SCAN,
            ),
            "GDBM, and languages that use it (Perl, Python, PHP)",
        ),
        (
            r"malformed database file header",
            r"gdbm\S{0,80} .{0,80}(?:bad magic number|bad file offset|byte-swapped file)",
            r"(?:bad magic number|bad file offset|byte-swapped file).{0,80}gdbm",
        ),
        (
            "gdbmtool: cannot open database cache.db: Malformed database file header",
            "_gdbm.error: [Errno 0] Malformed database file header: 'sessions.gdbm'",
        ),
    ),
    Known(
        Explanation(
            "bdb.environment",
            "The environment files of Berkeley DB were made by other programs",
            "The databases (*.db) are whole: they are the same on both sides. Only the files"
            " __db.001, __db.002 and so on, which programs share while they run, fit no other"
            " build or width.",
            (
                "Do not delete log.* files: changes may stand only there.",
                "Do not delete *.db files.",
            ),
            (
                Step(
                    "On the old 32-bit system, stop the program and bring the log into the"
                    " databases.",
                    ("db5.3_recover -h DIR",),
                ),
                Step("Carry *.db and log.* over, and leave __db.* behind."),
                Step(
                    "If the old system is gone: keep a copy, then let the new programs make the"
                    " shared files again.",
                    ("cp -a DIR DIR.i386", "rm DIR/__db.*", "db5.3_recover -h DIR"),
                ),
            ),
            "Berkeley DB; OpenLDAP before 2.5, Postfix, Cyrus, Subversion, rpm",
        ),
        (
            r"bdb153[89]",
            r"build signature doesn't match environment",
            r"program version .{0,20}doesn't match environment version",
            r"\bdb_version_mismatch",
        ),
        (
            "bdb(dc=example,dc=org): BDB1539 Build signature doesn't match environment",
            "db5.3_stat: BDB1538 Program version 5.3 doesn't match environment version 5.1",
            "rpmdb: Program version 4.3 doesn't match environment version",
            "BDB0091 DB_VERSION_MISMATCH: Database environment version mismatch",
        ),
    ),
    Known(
        Explanation(
            "bdb.file",
            "A file is no Berkeley DB database of a kind that the program reads",
            "The first bytes are not those of Berkeley DB. Often a database of another kind"
            " (LMDB, GDBM) has the same name, for the new program uses that kind.",
            ("Do not delete the file before it is known what it is.",),
            (
                Step("See what the file is.", ("applianceforge scan DIR",)),
                Step("For Postfix, make its tables again from their text.", ("postmap FILE",)),
            ),
            "Berkeley DB; Postfix, Cyrus, Perl's DB_File",
        ),
        (r"bdb0641", r"unexpected file type or format"),
        ("BDB0641 __db_meta_setup: /data/mail/aliases.db: unexpected file type or format",),
    ),
    Known(
        Explanation(
            "perl.storable",
            "A file of Perl's Storable was written by a Perl of the other width",
            "The file is whole. Storable writes numbers as wide as Perl's own, unless it is asked"
            " for network order. A 64-bit Perl refuses a 32-bit file.",
            (
                "Do not edit the sizes in the file's header: the numbers behind it stay wrong.",
                "Do not delete it, unless its program makes it again by itself (a cache).",
            ),
            (
                Step(
                    "On the old 32-bit system, write it again in network order, which both read.",
                    (
                        "perl -MStorable=retrieve,nstore -e 'nstore(retrieve($ARGV[0]),"
                        ' "$ARGV[0].new")\' FILE',
                    ),
                ),
                SCAN,
            ),
            "Perl's module Storable",
        ),
        (
            r"long integer size is not compatible",
            r"(?<!long )\binteger size is not compatible",
            r"byte order is not compatible",
            r"pointer (?:integer )?size is not compatible",
            r"double size is not compatible",
        ),
        (
            "Long integer size is not compatible at /usr/lib/perl/5.36/Storable.pm line 421",
            "Integer size is not compatible at app.pl line 12.",
            "Byte order is not compatible at app.pl line 12.",
            "Pointer size is not compatible at app.pl line 12.",
        ),
    ),
    Known(
        Explanation(
            "atop.log",
            "A log of atop was written by an atop of another version or width",
            "The log is whole, but atop writes numbers as they lie in memory. Nothing else uses"
            " these files, and a new one is begun each day.",
            ("Do not run atopconvert on it: it changes the version, not the width.",),
            (
                Step(
                    "If you need the history: on the old 32-bit system, write it out as text.",
                    ("atop -r FILE -P ALL > FILE.txt",),
                ),
                Step(
                    "On the 64-bit system, put the old logs aside.",
                    ("mkdir /var/log/atop/i386", "mv /var/log/atop/atop_* /var/log/atop/i386/"),
                ),
                Step("Start it again.", ("systemctl restart atop",)),
            ),
            "atop and atopsar",
        ),
        (
            r"raw file \S{0,400} ?has incompatible format",
            r"existing file \S{0,400} ?has incompatible header",
            r"files from other system architectures might be binary incompatible",
        ),
        (
            "raw file /var/log/atop/atop_20261121 has incompatible format",
            "existing file /var/log/atop/atop_20261122 has incompatible header",
            "(files from other system architectures might be binary incompatible)",
        ),
    ),
    Known(
        Explanation(
            "xfs.dirty-log",
            "XFS cannot replay its log, which another system wrote",
            "The file system was not unmounted cleanly. Its log holds changes that only a kernel"
            " of the same kind can bring in. What was written last is still in that log.",
            (
                "Do not run xfs_repair -L: it throws the log away, and with it the last changes.",
                "Do not format the file system.",
            ),
            (
                Step("Start the old 32-bit system once more: it can read the log."),
                Step("Mount the file system there, and unmount it cleanly.", ("umount DIR",)),
                Step("Then start the 64-bit system again."),
            ),
            "Linux, fs/xfs, when the file system is mounted",
        ),
        (
            r"dirty log written in incompatible format",
            r"xlog_recover_process_\w+: bad clientid",
            r"xfs.{0,40}bad clientid",
            r"xfs.{0,40}log mount/recovery failed",
        ),
        (
            "XFS (sda5): dirty log written in incompatible format - can't recover",
            "XFS: xlog_recover_process_data: bad clientid",
            "XFS (sda5): log mount/recovery failed: error -117",
        ),
    ),
)
