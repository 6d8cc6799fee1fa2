-- The load of the table in docs/en/examples.md: the same picture again and again.
function init(args)
  wrk.method, wrk.headers["Content-Type"] = "POST", "image/*"
  wrk.body = assert(io.open(args[1], "rb")):read("*a")
end
