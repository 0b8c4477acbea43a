"""What PostgreSQL's messages mean about data of the other width or version: a table.

A pattern is a regular expression that is searched for in the line after it was made plain:
lower case, every quotation mark as ', every run of spaces as one. The wordings come from PostgreSQL
15, src/backend/access/transam/xlog.c (ReadControlFile) and src/bin/pg_upgrade/controldata.c
(check_control_data) and check.c, and from its German messages.

The sentences are short, for they are read at night.
"""

from __future__ import annotations

from applianceforge.preflight.explanation import Explanation, Known, Step

_MIGRATE = (
    Step("Stop the server, and keep its data directory as it is.", ("cp -a DIR DIR.i386",)),
    Step("See what the data directory is. This only reads.", ("applianceforge cluster info DIR",)),
    Step(
        "Let this toolkit carry it over. It reads the old data with the old 32-bit programs,"
        " writes new data beside it, and proves that both are equal.",
        (
            "applianceforge migrate settings > box.toml",
            "applianceforge migrate plan -c box.toml",
            "applianceforge migrate run -c box.toml",
        ),
    ),
)

KNOWN = (
    Known(
        Explanation(
            "postgresql.control-checksum",
            "A 64-bit PostgreSQL reads the data of a 32-bit one (or the file is damaged)",
            "The data is most likely whole. pg_control, the file that PostgreSQL reads first, is"
            " laid out differently by 32-bit and 64-bit programs. So the checksum is looked for at"
            " the wrong place, and seems wrong. Only a damaged disk gives the same message"
            " otherwise; the second step below tells the two apart.",
            (
                "Do not run pg_resetwal (before version 10: pg_resetxlog). It writes guessed"
                " values over pg_control, and the server would then read every table wrongly."
                " What it overwrites cannot be brought back.",
                "Do not run initdb on this directory, and do not delete anything in it.",
            ),
            (
                *_MIGRATE,
                Step(
                    "If pg_resetwal has already run here, do not start the server: go back to a"
                    " copy or a backup from before, and begin with step 1."
                ),
            ),
            "PostgreSQL, at the start of the server; pg_controldata",
        ),
        (
            r"incorrect checksum in control file",
            r"pr.{1,12}fsumme in kontrolldatei",
            r"calculated crc checksum does not match value stored in (?:control )?file",
            r"pg_control exists but has invalid crc",
            r"pg_control existiert, aber mit ung.{1,12}ltiger crc",
            r"berechnete crc-pr.{1,12}fsumme stimmt nicht mit dem wert in der datei",
        ),
        (
            "FATAL:  incorrect checksum in control file",
            "2026-11-22 02:13:07.123 UTC [812] FATAL:  incorrect checksum in control file",
            "FATAL:  falsche Pr\u00fcfsumme in Kontrolldatei",
            "WARNING: Calculated CRC checksum does not match value stored in file.",
            "pg_resetwal: warning: pg_control exists but has invalid CRC; proceed with caution",
        ),
    ),
    Known(
        Explanation(
            "postgresql.layout",
            "The PostgreSQL server was built for another kind of machine than its data",
            "The data is whole. It was written by a server whose numbers have another size in"
            " memory: MAXALIGN 4 and no USE_FLOAT8_BYVAL is 32-bit, MAXALIGN 8 with it is 64-bit."
            " PostgreSQL stops before it touches anything.",
            (
                "Do not run initdb, although the hint says so: it makes an empty cluster.",
                "Do not run pg_resetwal: it cannot change how the tables are laid out.",
                "Do not use pg_upgrade: it does not go from 32 to 64 bits.",
            ),
            _MIGRATE,
            "PostgreSQL, at the start of the server",
        ),
        (
            r"database files are incompatible with server(?!.*catalog_version_no)",
            r"datenbankdateien sind inkompatibel mit server(?!.*catalog_version_no)",
            r"cluster was initialized with(?:out)? (?:maxalign|use_float8_byval|use_float4_byval"
            r"|blcksz|relseg_size|xlog_blcksz|namedatalen|index_max_keys|toast_max_chunk_size"
            r"|loblksize|have_int64_timestamp)",
            r"cluster wurde (?:mit|ohne) (?:maxalign|use_float8_byval|blcksz|relseg_size"
            r"|xlog_blcksz|namedatalen|index_max_keys|toast_max_chunk_size|loblksize)",
            r"cluster appears to use a different floating-point number format",
        ),
        (
            "FATAL:  database files are incompatible with server",
            "DETAIL:  The database cluster was initialized with MAXALIGN 4, but the server was"
            " compiled with MAXALIGN 8.",
            "DETAIL:  The database cluster was initialized without USE_FLOAT8_BYVAL but the server"
            " was compiled with USE_FLOAT8_BYVAL.",
            "DETAIL:  The database cluster was initialized with BLCKSZ 8192, but the server was"
            " compiled with BLCKSZ 32768.",
            "FATAL:  Datenbankdateien sind inkompatibel mit Server",
            "DETAIL:  Der Datenbank-Cluster wurde ohne USE_FLOAT8_BYVAL initialisiert, aber der"
            " Server wurde mit USE_FLOAT8_BYVAL kompiliert.",
        ),
    ),
    Known(
        Explanation(
            "postgresql.version",
            "The PostgreSQL server is of another major version than its data, or of another byte"
            " order",
            "The data is whole. A new major version of PostgreSQL does not read the data of an"
            " old one. If the text speaks of byte ordering, the data comes from another family of"
            " processors, or the first bytes of pg_control are damaged.",
            (
                "Do not run initdb or pg_resetwal on this directory.",
                "Do not use pg_upgrade if the data is 32-bit: it changes the version, not the"
                " width.",
            ),
            _MIGRATE,
            "PostgreSQL, at the start of the server",
        ),
        (
            r"initialized with (?:pg_control_version|catalog_version_no)",
            r"wurde mit (?:pg_control_version|catalog_version_no) .*initialisiert",
            r"(?:mismatched byte ordering|byte ordering mismatch)",
            r"falsche byte-reihenfolge",
        ),
        (
            "DETAIL:  The database cluster was initialized with PG_CONTROL_VERSION 1300, but the"
            " server was compiled with PG_CONTROL_VERSION 1002.",
            "DETAIL:  The database cluster was initialized with PG_CONTROL_VERSION 335872000"
            " (0x14050000), but the server was compiled with PG_CONTROL_VERSION 1300 (0x00000514).",
            "HINT:  This could be a problem of mismatched byte ordering.  It looks like you need to"
            " initdb.",
            "DETAIL:  Der Datenbank-Cluster wurde mit CATALOG_VERSION_NO 202007201 initialisiert,"
            " aber der Server wurde mit CATALOG_VERSION_NO 202209061 kompiliert.",
        ),
    ),
    Known(
        Explanation(
            "postgresql.pg-upgrade",
            "pg_upgrade was asked to go from 32 to 64 bits, which it does not do",
            "The data is whole, and pg_upgrade has changed nothing in it. It changes the version of"
            " a cluster and lets the tables' files be; those are laid out differently by 32-bit and"
            " 64-bit servers.",
            (
                "Do not run pg_resetwal: it cannot change how the tables are laid out.",
                "Do not delete the old cluster, nor its 32-bit programs: they alone can read it.",
            ),
            _MIGRATE,
            "pg_upgrade, in all releases; of bigint where the extension isn is used",
        ),
        (
            r"likely one cluster is a 32-bit install",
            r"wahrscheinlich ist ein cluster eine 32-bit-installation",
            r"pg_controldata alignments are invalid or do not match",
            r"alignment in pg_controldata ist ung.{1,12}ltig",
            r"old and new clusters pass bigint values differently",
            r"bergeben bigint auf andere weise",
        ),
        (
            "old and new pg_controldata alignments are invalid or do not match",
            "Likely one cluster is a 32-bit install, the other 64-bit",
            "bigint data type.  Your old and new clusters pass bigint values differently so this"
            " cluster cannot currently be upgraded.",
            "altes und neues Alignment in pg_controldata ist ung\u00fcltig oder stimmt nicht"
            " \u00fcberein",
        ),
    ),
)
