"""How much harm a command, a path or a prompt could do, by rules told in docs/output-extraction.md."""

from services.task_worker.extraction.engine import compiled
from shared.messages.runs_reading import Risk

_CRITICAL = compiled(
    r"\brm\s+(?:-\S+\s+)*-[a-zA-Z]*[rRf]\S*\s+(?:-\S+\s+)*[\"']?(?:/|~/?|\$\{?HOME\}?/?|/\*|~/\*|\*|\.)[\"']?(?:\s|;|&|$)"
    r"|--no-preserve-root"
    r"|\b(?:curl|wget)\b[^|;]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:ba|z|da|k)?sh\b"
    r"|\b(?:curl|wget)\b[^|;]*\|\s*(?:sudo\s+)?(?:python|perl|ruby|node)[0-9.]*\b"
    r"|\b(?:bash|sh|zsh)\s+(?:-c\s+)?[\"']?(?:<\(|\$\()\s*(?:curl|wget)\b"
    r"|\bmkfs(?:\.\w+)?\b|\bdd\b.*\bof=/dev/|>\s*/dev/(?:sd|nvme|hd|vd|disk)|:\(\)\s*\{"
    r"|(?i:\bdrop\s+(?:table|database|schema)\b|\btruncate\s+table\b)"
    r"|\bchmod\s+-R\s+[0-7]*777\s+/(?:\s|$)|\b(?:shred|wipefs)\b"
)
_HIGH = compiled(
    r"\brm\s+(?:-\S+\s+)*-[a-zA-Z]*[rRf]|\bsudo\b|\bdoas\b|\bsu\s+-"
    r"|\bgit\b[^|;&]*\spush\b.*(?:\s--force|\s-f\b|\s\+\S|\s--mirror|\s--delete)"
    r"|\bgit\b[^|;&]*\s(?:reset\s+.*--hard|clean\s+-\S*[fdx]|filter-branch|checkout\s+(?:--\s+)?\.|branch\s+-D|stash\s+(?:drop|clear))"
    r"|\bchmod\s+(?:-\S+\s+)*[0-7]*777\b|\bch(?:own|mod)\s+-\S*R|\bkill(?:all)?\s+-9|\bpkill\b"
    r"|\b(?:shutdown|reboot|halt|poweroff)\b|\biptables\b|\bcrontab\s+-r"
    r"|\bterraform\s+(?:destroy|apply)\b|\bkubectl\s+(?:delete|drain)\b|\bhelm\s+(?:uninstall|delete)\b"
    r"|\bdocker\s+(?:system|volume|image)\s+prune\b|\bdocker\s+(?:rm|rmi)\s+.*-f"
    r"|\b(?:npm|yarn|pnpm|cargo|gem)\s+publish\b|\btwine\s+upload\b|\bgh\s+(?:repo|release)\s+delete\b"
    r"|\baws\s+\S+\s+(?:delete|terminate|rm)\S*|\bfind\b.*\s-delete\b|\bxargs\s+(?:-\S+\s+)*rm\b|\beval\b"
    r"|(?i:\bdelete\s+from\b|\balter\s+table\b)|>\s*/etc/|--dangerously|\bnc\s+-\S*[el]"
)
# Programs without an option that writes a file or runs another program; those with one are not among them.
_WORD = (
    r"(?:ls|ll|pwd|cat|head|tail|wc|echo|printf|grep|egrep|which|whereis|type|whoami|id|uname|uptime"
    r"|ps|df|du|free|stat|cd|true|test|cmp|cut|tr|nl|realpath|basename|dirname"
    r"|git\s+(?:status|log|diff|show|blame|rev-parse|ls-files|describe|shortlog)"
    r"|(?:docker|podman)\s+(?:ps|images|logs|version|info)|kubectl\s+(?:get|describe|logs|version)"
    r"|(?:pip|pip3)\s+(?:list|show|freeze)|npm\s+(?:ls|list)"
    r"|(?:python|python3|node|go|cargo|rustc|java|npm|pip|git|docker)\s+(?:--version|-V|version))"
)
_WRITING = compiled(r"--output|--ext-diff|--textconv|\s-o")
# Commands that only read, joined by pipes, `&&` or `;`; nothing is written by `>`, substituted or set.
_READING = compiled(rf"^\s*{_WORD}\b[^|;&<>`$()]*(?:(?:\||\|\||&&|;)\s*{_WORD}\b[^|;&<>`$()]*)*$")
_PRIVATE_PATH = compiled(
    r"(?:^|/)(?:\.ssh|\.gnupg|\.aws|\.kube)/|(?:^|/)(?:\.env(?:\.\w+)?|\.netrc|\.pgpass|\.npmrc|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|credentials(?:\.\w+)?|secrets?\.\w+)$|\.(?:pem|key|p12|pfx|keystore)$|^/etc/(?:shadow|sudoers)|^/proc/|^/dev/(?:sd|nvme)"
)
_WORDS = compiled(r"[^\s\"'<>|;&=]+")
_SYSTEM_PATH = compiled(r"^/(?:etc|boot|usr|bin|sbin|lib|sys)/")
_DANGEROUS = compiled(
    r"(?i:\b(?:delet|remov|overwrit|destroy|eras|wip|drop|purg|trunc|reset|forc|irreversibl|permanent|uninstall|kill|terminat"
    r"|deploy|publish|releas|production|prod\b|push|pay|charg|purchas|password|credential|token|secret|sudo|root\b|licen[cs]e|agree|trust)\w*)"
)


def of_command(command: bytes) -> Risk:
    """`critical` can't be undone or runs what strangers send; `low` only reads.

    `high` destroys, publishes, rules, or names what holds keys and passwords: to read it is to print it.
    """
    if _CRITICAL.search(command):
        return "critical"
    if _HIGH.search(command) or any(_PRIVATE_PATH.search(word) for word in _WORDS.findall(command)):
        return "high"
    return "low" if _READING.search(command) and not _WRITING.search(command) else "medium"


def of_path(path: bytes) -> Risk:
    """`high` where keys and passwords are kept, `medium` where the system is."""
    if _PRIVATE_PATH.search(path):
        return "high"
    return "medium" if _SYSTEM_PATH.search(path) else "low"


def of_prompt(prompt: bytes, default: str) -> Risk:
    """`high` when it names something that can't be taken back, `low` when Enter means yes, else `medium`."""
    if _DANGEROUS.search(prompt):
        return "high"
    return "low" if default in ("yes", "enter") else "medium"
