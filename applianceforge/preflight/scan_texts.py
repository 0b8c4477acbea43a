"""What to tell of each kind of data that a change of width touches: for a tired administrator.

In the commands FILE and DIR stand for what the evidence lists. "Here" is the 32-bit system that is
checked, "there" the 64-bit system that comes.
"""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.model.report import Remedy, Severity


class Text(NamedTuple):
    """A finding without its evidence."""

    severity: Severity
    title: str
    summary: str
    remedies: tuple[Remedy, ...] = ()


_DONE = Remedy(
    "When it is done, or if nobody needs it: say so in the answer file, in a section [data PATH]"
    " with is = carried-over (or discard) and reason = who did what.",
    verify="run the check again with the answer file: the finding is gone",
)
_AGAIN = "run the check again: the finding is gone"

# By format; what is in the 64-bit form already is not meant here.
TEXTS = {
    "postgresql": Text(
        Severity.INFO,
        "A PostgreSQL cluster of a 32-bit server",
        "The 64-bit server says of it: incorrect checksum in control file. That is no damage."
        " Never run pg_resetwal on it: it guesses, and wrecks the cluster. The migration converts"
        " it and proves that nothing is lost; it needs space beside the old data.",
        (
            Remedy(
                "Nothing now. Let the migration convert it.",
                "applianceforge migrate plan -c box.toml",
                "the plan lists the cluster and enough space",
            ),
        ),
    ),
    "postgresql-tablespace": Text(
        Severity.INFO,
        "A tablespace of PostgreSQL",
        "It belongs to a cluster and is converted with it.",
        (
            Remedy(
                "Nothing now. Look that the plan of the migration names it.",
                "applianceforge migrate plan -c box.toml",
            ),
        ),
    ),
    "postgresql-damaged": Text(
        Severity.INHIBITOR,
        "A PostgreSQL data directory whose control file is not readable as one",
        "global/pg_control is there, but it is empty, cut or overwritten. No server starts on it,"
        " of whatever width. Never run pg_resetwal on it: it guesses, and wrecks the cluster.",
        (
            Remedy(
                "See what is wrong. This only reads.",
                "applianceforge cluster info DIR",
            ),
            Remedy(
                "Restore the whole directory from a backup or a standby; or remove it if it is a"
                " remnant that nobody needs.",
                verify=_AGAIN,
            ),
            _DONE,
        ),
    ),
    "postgresql-wal": Text(
        Severity.WARNING,
        "Archived write-ahead log of a 32-bit PostgreSQL",
        "A 64-bit server cannot replay it, nor restore a base backup that it belongs to. After the"
        " migration there is no point-in-time recovery to a time before it.",
        (
            Remedy(
                "Keep the archive as long as you keep the 32-bit system for a way back. There,"
                " empty the archive and take a new base backup at once.",
                "pg_basebackup -D DIR -X stream",
                "pg_verifybackup DIR",
            ),
        ),
    ),
    "rrd": Text(
        Severity.INFO,
        "Round-robin databases of a 32-bit RRDtool",
        "The 64-bit RRDtool says of them: This RRD was created on another architecture. The"
        " migration converts them, every bit of every value.",
        (
            Remedy(
                "Nothing now. Let the migration convert them.",
                "applianceforge migrate plan -c box.toml",
                "the plan lists as many RRDs as are here",
            ),
        ),
    ),
    "rrd-foreign": Text(
        Severity.INHIBITOR,
        "Round-robin databases of another kind of machine, or damaged ones",
        "They begin as RRDs do, but their layout is that of neither i386 nor amd64. RRDtool here"
        " does not read them either.",
        (
            Remedy(
                "On the machine that wrote them, or restored from a backup: write them out.",
                "rrdtool dump FILE FILE.xml",
                "rrdtool restore FILE.xml FILE.new && rrdtool info FILE.new",
            ),
            _DONE,
        ),
    ),
    "lmdb": Text(
        Severity.INHIBITOR,
        "LMDB databases of 32-bit programs (OpenLDAP, Postfix lmdb: and others)",
        "A 64-bit program says of them: MDB_INVALID, File is not an LMDB file. They must be written"
        " out here, while 32-bit programs still run, and read in there.",
        (
            Remedy(
                "OpenLDAP: write the directory and its configuration out here; read them in there"
                " before slapd starts, into empty directories.",
                "slapcat -n 0 -l config.ldif; slapcat -n 1 -l data.ldif",
                "there, after slapadd: slapcat -n 1 | grep -c ^dn: gives the same number as here",
            ),
            Remedy(
                "Postfix: carry the text files over and make the maps anew there.",
                "postmap lmdb:FILE",
                "postmap -s lmdb:FILE lists the entries",
            ),
            Remedy(
                "Any other program: stop it and see whether the file has databases with names.",
                "mdb_dump -n -l FILE",
            ),
            Remedy(
                "If names are listed, write all of those out. (Only then: without names, -a writes"
                " nothing at all and still ends with status 0.)",
                "mdb_dump -n -a -f FILE.dump FILE",
                "ls -l FILE.dump shows that it is not empty",
            ),
            Remedy(
                "If nothing is listed, write the main database out, without -a. There, read it in"
                " with mdb_load -n -f FILE.dump FILE, into a file that does not exist yet.",
                "mdb_dump -n -f FILE.dump FILE",
                "mdb_stat -n -a FILE gives the same numbers of entries here and there",
            ),
            _DONE,
        ),
    ),
    "gdbm": Text(
        Severity.INHIBITOR,
        "GDBM databases of 32-bit programs",
        "A 64-bit program says of them: Malformed database file header. They must be written out"
        " here, while 32-bit programs still run, and read in there. A pair of .pag and .dir is one"
        " database: write the .pag out.",
        (
            Remedy(
                "Stop the program that uses it, and write it out here.",
                "gdbm_dump FILE FILE.dump",
                "grep '^#:count=' FILE.dump gives the number of entries",
            ),
            Remedy(
                "Read it in there, into a file that does not exist yet.",
                "gdbm_load FILE.dump FILE",
                "gdbmtool FILE count gives the same number",
            ),
            _DONE,
        ),
    ),
    "perl-storable": Text(
        Severity.INHIBITOR,
        "Data that a 32-bit Perl stored in its native order",
        "A 64-bit Perl says of it: Long integer size is not compatible. Storable has a form that"
        " every Perl reads; only a 32-bit Perl can rewrite the data in it. Do that only with files"
        " of your own programs: reading such a file can run code in it.",
        (
            Remedy(
                "Rewrite it here with nstore, then put FILE.new in the place of FILE.",
                "perl -MStorable=retrieve,nstore -e 'nstore(retrieve($ARGV[0]), \"$ARGV[0].new\")'"
                " FILE",
                "perl -MStorable -e 'print Storable::file_magic($ARGV[0])->{netorder}' FILE.new"
                " prints 1",
            ),
            Remedy(
                "Make the program use nstore from now on, or it writes the native form again.",
                verify=_AGAIN,
            ),
            _DONE,
        ),
    ),
    "berkeley-db-environment": Text(
        Severity.INHIBITOR,
        "An environment of Berkeley DB: images of a program's memory beside its databases",
        "A 64-bit program says of it: BDB1539 Build signature doesn't match environment. The"
        " databases (*.db) and the log (log.*) are portable, the files __db.001 and so on are not."
        " Changes may stand only in the log until a recovery.",
        (
            Remedy(
                "Stop the program, let its log be worked into its databases, and take the images"
                " away. Carry *.db and log.* over, nothing else.",
                "db_recover -h DIR && rm DIR/__db.*",
                "db_verify DIR/NAME.db says nothing wrong, for each database",
            ),
            _DONE,
        ),
    ),
    "atop": Text(
        Severity.WARNING,
        "Logs of a 32-bit atop",
        "A 64-bit atop refuses to read them, and to go on with today's. Only history is at stake.",
        (
            Remedy(
                "If you want the history, write it out as text here.",
                "atop -P ALL -r FILE > FILE.txt",
                "FILE.txt is not empty",
            ),
            Remedy(
                "Put the old logs aside before the 64-bit atop starts.",
                "mkdir DIR/i386 && mv DIR/atop_* DIR/i386/",
                "there: atop -r reads today's log",
            ),
        ),
    ),
    "sysstat-old": Text(
        Severity.WARNING,
        "Daily data of an old sysstat",
        "Before format 2175 (sysstat 11.7.1) its files depend on the machine. Only history is at"
        " stake.",
        (
            Remedy(
                "If you want the history, convert it here, with the newest sadf that runs here; or"
                " write it out as text.",
                "sadf -c FILE > FILE.new; sar -A -f FILE > FILE.txt",
                "there: sar -A -f FILE.new",
            ),
        ),
    ),
    "elf": Text(
        Severity.WARNING,
        "32-bit programs or libraries among the data",
        "Somebody compiled them here (SpamAssassin's sa-compile, extensions of a language, a"
        " vendor's tools). A 64-bit program cannot load such a library: it says wrong ELF class, or"
        " silently does without and is slow. Such a program runs only if the 64-bit system has"
        " 32-bit libraries.",
        (
            Remedy(
                "SpamAssassin: compile the rules anew there.",
                "sa-compile",
                "file -L /var/lib/spamassassin/compiled/*/*/auto/*/*/*.so says 64-bit",
            ),
            Remedy(
                "Anything else: install or build it anew there, for amd64.",
                verify="file FILE says ELF 64-bit",
            ),
        ),
    ),
    "python-venv": Text(
        Severity.WARNING,
        "Python virtual environments",
        "They are bound to the Python that made them. Another version of Python does not find what"
        " is installed in them, and a 64-bit one cannot load libraries that were compiled for 32"
        " bits: it says wrong ELF class. In brackets is what the files in them show.",
        (
            Remedy(
                "Write down what is installed, here.",
                "DIR/bin/python -m pip freeze > requirements.txt",
            ),
            Remedy(
                "Make the environment anew there.",
                "python3 -m venv --clear DIR && DIR/bin/pip install -r requirements.txt",
                "DIR/bin/python -m pip check",
            ),
        ),
    ),
    "exim-hints": Text(
        Severity.WARNING,
        "Exim's hints: when to try a delivery again",
        "The files do not show how wide the Exim is that wrote them. What a 32-bit one wrote, a"
        " 64-bit one reads without complaint, and takes wrong dates from it: mail may wait for"
        " days. What a 64-bit one wrote, it reads as it was meant. Nothing is lost without them;"
        " Exim makes them anew.",
        (
            Remedy(
                "Unless a 64-bit Exim wrote them: stop Exim and remove each of them. The queue of"
                " mails (input, msglog) stays.",
                "rm -f FILE",
                "there, after some mails: exim_dumpdb SPOOL retry shows dates of today; SPOOL is"
                " the directory above db",
            ),
        ),
    ),
    "squid-cache": Text(
        Severity.INFO,
        "Squid's cache",
        "Its index and its objects hold C structures. Nothing is lost without it.",
        (
            Remedy(
                "Stop Squid, remove the directory's contents, and let Squid make it anew there.",
                "squid -z",
                "Squid starts without a complaint about swap.state",
            ),
        ),
    ),
    "core": Text(
        Severity.INFO,
        "Memory dumps of programs that crashed",
        "Only a debugger with the same programs can read them.",
        (Remedy("Remove them, or keep them elsewhere together with the programs.", "rm FILE"),),
    ),
    "unknown-structure": Text(
        Severity.INHIBITOR,
        "Files of an unknown format that look bound to this kind of machine",
        "They are neither text nor a known format, and they look like a program's memory. In"
        " brackets is how many of the words of 4 bytes at their beginning, but for zeros, are small"
        " little-endian numbers or times, or how many words of 8 bytes are floating-point numbers:"
        " of compressed or encrypted data hardly any are. If a 32-bit program wrote its structures"
        " so, a 64-bit one misreads them, perhaps silently. Somebody must say what they are.",
        (
            Remedy(
                "Find out which program they belong to, and ask its vendor whether a 64-bit build"
                " reads them.",
                "fuser -v FILE; dpkg -S FILE; file FILE",
            ),
            Remedy(
                "Say what they are in the answer file: a section [data PATTERN] with is ="
                " portable, rebuilt, discard or carried-over, and reason = how you know.",
                verify="run the check again with the answer file: the finding is gone",
            ),
        ),
    ),
    "unknown-binary": Text(
        Severity.INFO,
        "Files of an unknown format that do not look bound to this kind of machine",
        "Nothing in them looks like a program's memory; encrypted and compressed files are like"
        " that. They are carried over as they are.",
    ),
    "disk-image": Text(
        Severity.INFO,
        "Images of disks and file systems",
        "They are carried over as they are. What is in them was not looked at.",
        (
            Remedy(
                "If an image holds data of this appliance: mount it read-only and scan it, too.",
                "mount -o ro,loop FILE /mnt && applianceforge check --scan /mnt",
            ),
        ),
    ),
}

REBUILT = Text(
    Severity.INFO,
    "Caches and indexes that their programs make anew",
    "They are made anew by themselves, or when their package is installed there.",
    (
        Remedy(
            "Nothing, as a rule. For the index of the manual pages, if man is slow to find one:",
            "mandb -c",
        ),
    ),
)
DISCARD = Text(
    Severity.INFO,
    "Files that need not be carried over",
    "Nothing is lost without them: locks, swap space, counters.",
    (Remedy("Leave them behind, or remove them there before the programs start.", "rm FILE"),),
)
CARRY_OVER = Text(
    Severity.INHIBITOR,
    "Data that only 32-bit programs can read",
    "It must be written out here, while 32-bit programs still run, and read in there.",
    (_DONE,),
)
WIDE = Text(
    Severity.INFO,
    "Data that 64-bit programs wrote already",
    "It is carried over as it is. The 32-bit programs here cannot read it.",
)
STATED = Text(
    Severity.INFO,
    "Data that somebody has said what becomes of",
    "The scan takes their word for it.",
)
UNUSED = Text(
    Severity.INFO,
    "Statements about data that fit no file",
    "A pattern may be misspelt, or meant for another directory.",
    (
        Remedy(
            "Compare the pattern with the paths in this report; it is relative to the scanned"
            " directory."
        ),
    ),
)
UNREADABLE = Text(
    Severity.WARNING,
    "Files or directories that could not be read",
    "What they hold is not known, and not counted as harmless.",
    (
        Remedy(
            "If permission is denied, scan as root. If the disk reports errors, see to the disk"
            " and to a backup first.",
            "sudo applianceforge check --scan DIR",
            _AGAIN,
        ),
    ),
)
ELSEWHERE = Text(
    Severity.WARNING,
    "Other file systems are mounted below the directory",
    "The scan does not enter them, so what they hold is not known.",
    (
        Remedy(
            "If they hold data of this appliance, scan them, too.",
            "applianceforge check --scan DIR",
        ),
    ),
)
VANISHED = Text(
    Severity.INFO,
    "Files went away or changed while the scan ran",
    "Programs are at work in the directory. That is normal before an update, not during one.",
    (
        Remedy(
            "For a full picture, stop the services that write there and check again.",
            verify=_AGAIN,
        ),
    ),
)
