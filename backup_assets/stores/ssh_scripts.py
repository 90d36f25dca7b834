"""What is run on the other host, with nothing but a POSIX shell, the basic utilities and sha256sum?

Every script is an argument of ``sh -c``, so that the login shell only has to pass it on. It gets as ``$1`` a line that
it prints before anything else, since a profile may have printed already, as ``$2`` the store's directory, and its own
arguments from ``$3`` on, so that no name is ever part of the text. Besides POSIX they use ``stat -c`` and
``sync FILE`` (GNU or busybox) and ``sha256sum``.

Results are words on standard output; the exit statuses below say what is wrong, standard error why.
"""

from __future__ import annotations

NO_DIRECTORY = 71
MAY_NOT_ENTER = 72
NOT_A_DIRECTORY = 73
FAILED = 74
NO_PROGRAM = 75

#: Where content waits until it is whole and proven; no key begins with a dot.
INCOMING = ".incoming"

_BEGIN = f"""\
LC_ALL=C; export LC_ALL; umask 077
printf '\\n%s\\n' "$1"
cd "$2" || {{ [ -d "$2" ] && exit {MAY_NOT_ENTER}; [ -e "$2" ] && exit {NOT_A_DIRECTORY}; exit {NO_DIRECTORY}; }}
key=$3
look() {{
  facts=$(stat -c '%s %Y %F' "./$key" 2>&1) && return 0
  case $facts in
    *': No such file or directory' | *': Not a directory') facts= ;;
    *) printf '%s\\n' "$facts" >&2; exit {FAILED} ;;
  esac
}}
regular() {{ case $facts in *' regular file' | *' regular empty file') return 0 ;; esac; return 1; }}
"""

#: key. Prints nothing when there is no such object, else ``SIZE SECONDS …``.
STAT = (
    _BEGIN
    + """\
look
regular && echo "$facts"
exit 0
"""
)

#: key. Prints as STAT does, and then the content.
READ = (
    _BEGIN
    + """\
look
regular || { echo; exit 0; }
echo "$facts"
exec cat "./$key"
"""
)

#: prefix. Prints ``SIZE SECONDS ./NAME`` in lines, ``end`` in the last. Names that begin with a dot or hold a line
#: break are left out. What vanishes meanwhile is no fault, everything else that cannot be read is one.
LIST = (
    _BEGIN
    + f"""\
top=.
if [ -n "$key" ]; then
  look
  [ -n "$facts" ] || {{ echo end; exit 0; }}
  top=./$key
fi
if {{ {{ find "$top" \\( -name '.?*' -o -name '*
*' \\) -prune -o -type f -exec stat -c '%s %Y %n' {{}} + ; status=$?
  [ $status -le 1 ] || echo "find ended with status $status" >&2; }} 2>&1 1>&3 |
  grep -v ': No such file or directory$' >&2; }} 3>&1
then exit {FAILED}; fi
echo end
"""
)

#: key.
DELETE = (
    _BEGIN
    + f"""\
look
regular || exit 0
rm -f "./$key" || exit {FAILED}
dir=$(dirname "./$key") && sync "$dir" || exit {FAILED}
"""
)

FREE = _BEGIN + f"df -Pk . || exit {FAILED}\n"

_NEEDED = f"""\
for program in sha256sum stat find sync $needed; do
  command -v "$program" >/dev/null || {{ echo "$program was not found" >&2; exit {NO_PROGRAM}; }}
done
"""

#: nonce. Prints the nonce after writing it to a file and reading it back.
CHECK = (
    _BEGIN
    + "needed=rsync\n"
    + _NEEDED
    + f"""\
[ -d {INCOMING} ] || mkdir {INCOMING} || [ -d {INCOMING} ] || exit {FAILED}
probe={INCOMING}/check-$key.partial
printf '%s\\n' "$key" > "$probe" && sync "$probe" && cat "$probe" || {{ rm -f "$probe"; exit {FAILED}; }}
rm -f "$probe"
"""
)

# After a transfer the key may exist, and before one: `existing` prints `exists SHA256 SIZE SECONDS …`, the SHA-256
# being `-` when the size says enough, or `other` for what is no regular file.
_EXISTING = f"""\
size=$4 sha=$5 partial={INCOMING}/$6.partial
existing() {{
  regular || {{ echo other; return 0; }}
  found=-
  if [ "${{facts%% *}}" = "$size" ]; then
    found=$(sha256sum < "./$key") || exit {FAILED}
    found=${{found%% *}}
  fi
  echo "exists $found $facts"
}}
"""

# What nobody has written to for a day belongs to no living transfer.
_OPEN_INCOMING = f"""\
[ -d {INCOMING} ] || {{ mkdir {INCOMING} && sync . ; }} || [ -d {INCOMING} ] || exit {FAILED}
find {INCOMING} -type f -name '*.partial' -mtime +0 -exec rm -f {{}} +
find {INCOMING} -type d -name '*.lock' -mtime +0 -exec rmdir {{}} +
"""

# link(2) refuses an existing name. Where there are no hard links, a directory is the lock of those who come this way.
_COMMIT = f"""\
sync "$partial" || exit {FAILED}
dd if="$partial" iflag=nocache count=0 2>/dev/null || : # read back from the disk, where dd can ask for that
found=$(sha256sum < "$partial") || exit {FAILED}
found=${{found%% *}}
if [ "$found" != "$sha" ]; then rm -f "$partial"; echo "damaged $found"; exit 0; fi
dir=$(dirname "./$key")
if [ ! -d "$dir" ]; then
  mkdir -p "$dir" || exit {FAILED}
  above=$dir
  while [ "$above" != . ]; do above=$(dirname "$above"); sync "$above" || exit {FAILED}; done
fi
look
if [ -n "$facts" ]; then rm -f "$partial"; existing; exit 0; fi
error=$(ln "$partial" "./$key" 2>&1) || case $error in
  *'Operation not permitted'* | *'not supported'* | *'not implemented'*)
    lock={INCOMING}/$(printf %s "$key" | sha256sum | cut -c1-32).lock tries=0
    until mkdir "$lock" 2>/dev/null; do
      tries=$((tries + 1)); [ $tries -lt 60 ] || {{ echo busy; exit 0; }}; sleep 1
    done
    trap 'rmdir "$lock"' EXIT
    look
    if [ -n "$facts" ]; then rm -f "$partial"; existing; exit 0; fi
    mv "$partial" "./$key" || exit {FAILED} ;;
  *)
    look
    if [ -n "$facts" ]; then rm -f "$partial"; existing; exit 0; fi
    printf '%s\\n' "$error" >&2; exit {FAILED} ;;
esac
rm -f "$partial"
sync "$dir" || exit {FAILED}
look
echo "stored $sha $facts"
"""

#: key size sha256 partial. Prints what `existing` prints, or ``partial BYTES`` with what is there already.
PREPARE = (
    _BEGIN
    + "needed=rsync\n"
    + _NEEDED
    + _EXISTING
    + f"""\
look
if [ -n "$facts" ]; then existing; exit 0; fi
{_OPEN_INCOMING}
touch "$partial" || exit {FAILED}
echo "partial $(wc -c < "$partial")"
"""
)

#: key size sha256 partial. Prints what `existing` prints, ``damaged SHA256`` (the partial is gone), ``busy``, or
#: ``stored SHA256 SIZE SECONDS …``.
COMMIT = _BEGIN + _EXISTING + _COMMIT

#: As COMMIT, after writing what comes on standard input.
STORE = (
    _BEGIN
    + "needed=\n"
    + _NEEDED
    + _EXISTING
    + f"""\
look
if [ -n "$facts" ]; then cat >/dev/null; existing; exit 0; fi
{_OPEN_INCOMING}
cat > "$partial" || {{ rm -f "$partial"; exit {FAILED}; }}
{_COMMIT}"""
)

#: key size sha256 partial.
DISCARD = (
    _BEGIN
    + _EXISTING
    + f"""\
rm -f "$partial" || exit {FAILED}
"""
)
