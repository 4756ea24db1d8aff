package policy

import (
	"fmt"
	"regexp"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// Image is one use of an image by an object of the release.
type Image struct {
	Image     string    `json:"image"`    // as written
	Registry  string    `json:"registry"` // host and port; "" when the reference is not understood
	Name      string    `json:"name"`     // repository below the registry
	Tag       string    `json:"tag"`
	Digest    string    `json:"digest"` // sha256:…, or "" when there is none that pins
	Container string    `json:"container"`
	Object    ObjectRef `json:"object"`
	Path      string    `json:"path"` // of the field
}

// The grammar of image references (OCI distribution specification). All are
// anchored: what does not match as a whole is not understood at all, so that
// a rule which wants a registry or a digest finds none.
var (
	hostPattern   = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?$`)
	namePattern   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

const maxImageReference = 512

// ParseImage reads an image reference the way a container runtime resolves it:
// without a host it is on docker.io, without a directory there in library/.
func ParseImage(reference string) (Image, error) {
	image := Image{Image: reference}
	if len(reference) > maxImageReference {
		return Image{Image: reference[:maxImageReference]}, fmt.Errorf("image: longer than %d characters", maxImageReference)
	}
	rest, digest, pinned := strings.Cut(reference, "@")
	if pinned && !digestPattern.MatchString(digest) {
		return image, fmt.Errorf("image %q: want a digest of sha256: and 64 hexadecimal digits", reference)
	}
	tag := ""
	if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
		rest, tag = rest[:colon], rest[colon+1:]
		if !tagPattern.MatchString(tag) {
			return image, fmt.Errorf("image %q: %q is not a tag", reference, tag)
		}
	}
	registry, name := splitRegistry(rest)
	if !hostPattern.MatchString(registry) || !namePattern.MatchString(name) {
		return image, fmt.Errorf("image %q: want registry/name:tag@digest", reference)
	}
	image.Registry, image.Name, image.Tag, image.Digest = registry, name, tag, digest
	return image, nil
}

func splitRegistry(rest string) (registry, name string) {
	host, path, found := strings.Cut(rest, "/")
	if found && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return host, path
	}
	if !found {
		return "docker.io", "library/" + rest
	}
	return "docker.io", rest
}

// containerFields are every list of containers that a pod has. Ephemeral ones
// never come from Git, but a manifest may hold them.
var containerFields = []string{"initContainers", "containers", "ephemeralContainers"}

// Images lists every image that the objects run or mount, in object order. One
// that is missing or not understood is listed too, without registry and digest.
func Images(objects []*manifest.Object, templates PodTemplates) []Image {
	images := []Image{}
	for _, o := range objects {
		found := map[string]bool{}
		for _, pod := range templates.PodSpecs(o) {
			for _, image := range podImages(RefOf(o), pod) {
				found[image.Path] = true
				images = append(images, image)
			}
		}
		if _, named := templates[kindKey(o)]; !named {
			images = append(images, otherImages(o, found)...)
		}
	}
	return images
}

// otherImages are those that an operator runs for a custom resource. A text
// under `image` that can be no reference is something else.
func otherImages(o *manifest.Object, found map[string]bool) []Image {
	var images []Image
	eachMapping(o.Object, "", func(path string, mapping map[string]any) {
		for _, field := range []string{"image", "imageName"} {
			at := join(path, field)
			if text, ok := mapping[field].(string); ok && text != "" && !found[at] {
				if _, err := ParseImage(text); err == nil || field == "imageName" || looksLikePod(mapping) {
					images = append(images, imageAt(text, "", RefOf(o), at))
				}
			}
		}
	})
	return images
}

func podImages(object ObjectRef, pod PodSpec) []Image {
	var images []Image
	add := func(c any, path string) {
		container, _ := c.(map[string]any)
		name, _ := container["name"].(string)
		// What only changes a container that an operator makes need not say it.
		if value, has := container["image"]; has || !pod.alike {
			images = append(images, imageAt(value, name, object, path+".image"))
		}
	}
	fields := containerFields
	if pod.alike {
		fields = containerLists
		for _, field := range loneContainers {
			add(pod.Spec[field], join(pod.Path, field))
		}
	}
	for _, field := range fields {
		containers, _ := pod.Spec[field].([]any)
		for i, c := range containers {
			add(c, fmt.Sprintf("%s[%d]", join(pod.Path, field), i))
		}
	}
	volumes, _ := pod.Spec["volumes"].([]any)
	for i, v := range volumes {
		volume, _ := v.(map[string]any)
		if image, found := volume["image"].(map[string]any); found {
			path := fmt.Sprintf("%s.volumes[%d].image.reference", pod.Path, i)
			images = append(images, imageAt(image["reference"], "", object, path))
		}
	}
	return images
}

func imageAt(value any, container string, object ObjectRef, path string) Image {
	reference, _ := value.(string)
	// A reference that is not understood keeps its text and nothing else.
	image, _ := ParseImage(reference)
	image.Container, image.Object, image.Path = container, object, path
	return image
}
