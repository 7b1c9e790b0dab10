# The same image for those who build with an engine: docker build -t registry.example.com/penstock:0.1.0 .
# deploy/image/build makes it without one, and `make image-test` tries that one: no test builds by this file. Static, for whichever architecture
# the builder has.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN target="$(uname -m)-unknown-linux-gnu" \
 && env "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_RUSTFLAGS=-C target-feature=+crt-static" \
    cargo build --release --locked --bin penstock --target "$target" \
 && install -D "target/$target/release/penstock" /root-of-image/usr/bin/penstock \
 && strip --strip-all /root-of-image/usr/bin/penstock \
 && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/ca-certificates.crt \
 && printf 'penstock:x:65532:65532:penstock:/:/usr/bin/penstock\n' > /root-of-image/etc/passwd \
 && printf 'penstock:x:65532:\n' > /root-of-image/etc/group \
 && printf 'hosts: files dns\n' > /root-of-image/etc/nsswitch.conf

FROM scratch
COPY --from=build /root-of-image /
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/usr/bin/penstock"]
CMD ["run"]
