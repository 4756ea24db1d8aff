package lib.exempt_container

is_exempt(container) {
  exempt_images := object.get(object.get(input, "parameters", {}), "exemptImages", [])
  img := container.image
  exemption := exempt_images[_]
  startswith(img, exemption)
}
