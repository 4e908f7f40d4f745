"""A Hugging Face Hub of one's own: the calls that `huggingface_hub` makes to push files, answered from memory."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN, USER = "hf_right", "someone"
LARGE = 10_000  # bytes, from which on files take the way of large ones


class Hub:
    """`repositories`: {USER/NAME: {"private": bool, "files": {path: bytes}}}; `address`: what HF_ENDPOINT should be."""

    def __init__(self):
        self.repositories, self.large, self.asked = {}, {}, []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    @contextlib.contextmanager
    def serving(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()

    def answer(self, method, path, body):
        """`(status, JSON)` of a call."""
        if path == "/api/whoami-v2":
            return 200, {"name": USER, "type": "user"}
        if path == "/api/validate-yaml":
            content = json.loads(body)["content"]
            wrong = (
                [] if "license: unknown" in content or "license: mit" in content else ['"license" must be one of ...']
            )
            return (400 if wrong else 200), {"errors": [{"message": text} for text in wrong], "warnings": []}
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if method == "PUT":
            oid = path.split("/")[-1]
            assert hashlib.sha256(body).hexdigest() == oid
            self.large[oid] = body
            return 200, {}
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            actions = {each["oid"]: {"upload": {"href": f"{self.address}/lfs/{each['oid']}"}} for each in objects}
            return 200, {"objects": [{**each, "actions": actions[each["oid"]]} for each in objects]}
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(tree|preupload|commit)/main)?", path)
        if not found or found[1] not in self.repositories:
            return 404, {"error": "Repository not found"}
        return 200, getattr(self, found[2] or "info")(found[1], self.repositories[found[1]], body)

    def create(self, wanted):
        repo = f"{wanted.get('organization') or USER}/{wanted['name']}"
        if not repo.startswith(f"{USER}/"):
            return 403, {"error": f'You don\'t have the rights to create a model under the namespace "{repo}"'}
        answer = {"url": f"{self.address}/{repo}"}
        if repo in self.repositories:
            return 409, answer
        self.repositories[repo] = {
            "private": wanted.get("visibility") == "private",
            "files": {".gitattributes": b"*.pb lfs\n"},
        }
        return 200, answer

    def info(self, repo, kept, body):
        return {"id": repo, "private": kept["private"], "sha": "0" * 40, "siblings": [], "tags": []}

    def tree(self, repo, kept, body):
        files = kept["files"].items()
        return [{"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in files]

    def preupload(self, repo, kept, body):
        modes = {each["path"]: "lfs" if each["size"] > LARGE else "regular" for each in json.loads(body)["files"]}
        return {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}

    def commit(self, repo, kept, body):
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                kept["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                kept["files"][value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del kept["files"][value["path"]]
        return {"commitUrl": f"{self.address}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40}


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        path = self.path.split("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        body = self.body()
        is_known = path.startswith("/lfs/") or self.headers.get("Authorization") == f"Bearer {TOKEN}"
        status, answer = self.hub.answer(self.command, path, body) if is_known else (401, {"error": "Invalid token"})
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_):
        """Nothing."""
