"""The command that downloads a data set's official archive."""

from .cli import Parser
from .errors import UserError


def get_archive(name, description):
    """Parse the arguments of tools/get_<name>.py and do it; UserError if it cannot be done."""
    from data import ARCHIVES, DataError
    from data.download import download

    archive = ARCHIVES[name]
    parser = Parser(description, f"python tools/get_{name}.py")
    parser.add_argument(
        "--output",
        default=f"datasets/{archive.addresses[0].rpartition('/')[2]}",
        metavar="FILE",
        help="where it goes (default: %(default)s)",
    )
    file = parser.parse_args().output
    try:
        download(file, archive.addresses, archive.md5)
    except DataError as error:
        raise UserError(str(error)) from error
    print(f"{file}: the official archive, MD5 checked")
