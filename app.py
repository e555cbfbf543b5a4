"""The server, for hosting services: `gunicorn app:app`, or `python app.py`, which is `catdog serve`."""

import sys

if __name__ == "__main__":
    from catdog.cli import main

    sys.argv[1:1] = ["serve"]
    main()
else:
    from catdog.web.app import create_app

    app = create_app()
