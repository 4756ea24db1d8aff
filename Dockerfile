# The image of the daemon: one static binary, the certificates of the public
# authorities, and nothing else. Time zones are inside the binary (-tags
# timetzdata). There is no shell and no package manager, it runs as a user
# without a name, and it writes nowhere but to what is mounted: a cache at
# /var/cache/chaperone and /tmp. So the root file system may be read-only.

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-mod=readonly
COPY go.mod go.sum ./
RUN go mod download
COPY cmd/chaperone cmd/chaperone
COPY internal internal
ARG VERSION=devel
RUN go build -trimpath -buildvcs=false -tags timetzdata \
    -ldflags "-s -w -X chaperone.dev/chaperone/internal/cli.version=${VERSION}" \
    -o /chaperone ./cmd/chaperone

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /chaperone /chaperone
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/chaperone"]
CMD ["run"]
